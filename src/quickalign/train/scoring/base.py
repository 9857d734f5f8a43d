"""The types that every scorer and the training loop share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from quickalign.data.encode import EncodedRow, IntArray

# Kernels read from such addresses at full width, and are compiled anew for others.
_ALIGNMENT = 16


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """A part of an optimiser batch that goes through the model at once; all tensors lie on the model's device.

    A scored token is one token of an answer. Scored tokens are ordered by row, then by answer, then by their place in
    the answer.

    Attributes:
        rows: which rows of the optimiser batch these are, by position.
        answers: answers per row: 2 for pairs (chosen, rejected), 1 for samples.
        tokens: tokens that the model computes, without padding.
        inputs: keyword arguments of the model's forward; `input_ids` is an int64 tensor [batch, length].
        places: [places] where in the flattened [batch * length] hidden states something is predicted, each once; a
            CPU may be given a few more.
        which: [scored] index into `places` of each scored token's prediction.
        targets: [scored] ids of the scored tokens.
        lengths: [rows, answers] scored tokens of each answer.
        scored: how many scored tokens there are; a packed micro-batch may have more targets, which fill it up.
        parts: of a packed micro-batch, all tensors that its forward pass reads, as views of `storage`.
        storage: the memory of `parts`, in bytes.
    """

    rows: tuple[int, ...]
    answers: int
    tokens: int
    inputs: Mapping[str, Any]
    places: Tensor
    which: Tensor
    targets: Tensor
    lengths: Tensor
    scored: int
    parts: tuple[Tensor, ...] = ()
    storage: Tensor | None = None

    def per_answer(self, token_logps: Tensor) -> "AnswerLogps":
        """Sum `token_logps` [scored or more] over each answer; what stands behind the scored tokens is left out."""
        sums = torch.segment_reduce(token_logps[: self.scored], "sum", lengths=self.lengths.flatten(), unsafe=True)
        return AnswerLogps(sums.view(self.lengths.shape), self.lengths)


@dataclass(frozen=True, slots=True)
class AnswerLogps:
    """Log-probabilities of a micro-batch's answers. Column 0 is chosen (or the response), column 1 is rejected.

    Attributes:
        sums: [rows, answers] log-probability of each answer, its end mark included, in nats; fp32, or fp64 for an
            fp64 model. Differentiable unless made under `torch.no_grad`.
        lengths: [rows, answers] how many tokens each sum has. Without a prompt the first token has no probability
            and is not counted.
    """

    sums: Tensor
    lengths: Tensor


class Scorer(Protocol):
    """Scores the answers of encoded rows."""

    def cut(self, rows: Sequence[EncodedRow]) -> list[MicroBatch]:
        """Cut one optimiser batch, all pairs or all samples, into micro-batches; every row is in exactly one."""

    def logps(self, model: nn.Module, micro: MicroBatch, *, adapter: bool = True) -> "AnswerLogps":
        """Score one micro-batch.

        Args:
            model: a causal language model, with or without PEFT, not wrapped for DDP.
            micro: what `cut` made.
            adapter: False scores under the base alone, without gradient and dropout; `model` must be a PEFT model.
        """


def to_device(array: IntArray | Sequence[int] | np.ndarray, device: torch.device) -> Tensor:
    """An int64 tensor of `array` on `device`, without waiting for the device."""
    return torch.from_numpy(np.asarray(array, dtype=np.int64)).to(device, non_blocking=True)


def to_device_together(arrays: Sequence[np.ndarray], device: torch.device) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Bytes on `device` that hold `arrays`, and each of these as a view of them; one copy, without waiting for it."""
    starts = np.cumsum([0] + [-(-array.nbytes // _ALIGNMENT) * _ALIGNMENT for array in arrays]).tolist()
    held = np.zeros(starts[-1], dtype=np.uint8)
    for start, array in zip(starts, arrays, strict=False):
        held[start : start + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    storage = torch.from_numpy(held).to(device, non_blocking=True)
    kinds = [torch.from_numpy(array[:0].copy()).dtype for array in arrays]
    parts = (
        storage[start : start + array.nbytes].view(kind).view(array.shape)
        for start, array, kind in zip(starts, arrays, kinds, strict=False)
    )
    return storage, tuple(parts)
