"""The fast way to score: packed sequences in which every beginning stands once, and only scored positions in the head.

Its values and gradients are those of the plain way. What a model must be for that is `choose.packing_obstacle`'s
matter.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from quickalign.data.encode import EncodedRow, IntArray
from quickalign.data.pack import PackedSequence, pack
from quickalign.train.device import DeviceKind
from quickalign.train.scoring.attention import AttentionKind, attention_kind, for_a_pass, make_layout
from quickalign.train.scoring.base import AnswerLogps, MicroBatch, to_device, to_device_together
from quickalign.train.scoring.blocks import Run, cut_runs
from quickalign.train.scoring.flex import mask_parts
from quickalign.train.scoring.head import token_logps
from quickalign.train.scoring.parts import causal_model, decoder_of, head_of
from quickalign.train.scoring.reference import base_alone
from quickalign.train.scoring.sizes import filled


class PackedScorer:
    """Scores micro-batches of at most `token_budget` tokens, each one packed sequence, and what fills it up (`sizes`).

    The model must have been switched by `attention.use_packed_attention`. `attention` is the device's own kind unless
    it is given.
    """

    def __init__(self, *, token_budget: int, device: torch.device, attention: AttentionKind | None = None) -> None:
        self._token_budget = token_budget
        self._device = device
        self._attention = attention or attention_kind(device)

    def cut(self, rows: Sequence[EncodedRow]) -> list[MicroBatch]:
        """Pack `rows` by the token budget; a longer row is a micro-batch of its own."""
        return [self._micro_batch(sequence) for sequence in pack(rows, self._token_budget)]

    def logps(self, model: nn.Module, micro: MicroBatch, *, adapter: bool = True) -> AnswerLogps:
        """Run the decoder, then the one-pass head on the scored positions."""
        if not adapter:
            with base_alone(model):
                return self.logps(model, micro)
        return micro.per_answer(self.token_logps(model, micro))

    def token_logps(self, model: nn.Module, micro: MicroBatch) -> Tensor:
        """[scored] log-probability of each scored token, and of what fills them up."""
        base = causal_model(model)
        inputs = {**micro.inputs, "packed_layout": for_a_pass(micro.inputs["packed_layout"])}
        hidden: Tensor = decoder_of(base)(**inputs, use_cache=False).last_hidden_state
        scored = hidden.flatten(0, 1)[micro.places]
        return token_logps(head_of(base), scored, micro.which, micro.targets)

    def _micro_batch(self, sequence: PackedSequence) -> MicroBatch:
        places, which = np.unique(sequence.sources, return_inverse=True)
        kind: DeviceKind = "cuda" if self._device.type == "cuda" else "cpu"
        length, predicting, scored = filled(kind, len(sequence.ids), len(places), len(which))
        whole, places = _fill(sequence, length), _fill_places(places, length, predicting)
        arrays = [whole.ids, whole.positions, places, *(_up_to(scored, part) for part in (which, sequence.targets))]
        mask, runs = self._mask(whole.reach)
        storage, parts = to_device_together([*(array.astype(np.int64) for array in arrays), *mask], self._device)
        return MicroBatch(
            rows=sequence.rows,
            answers=sequence.lengths.shape[1],
            tokens=len(sequence.ids),
            inputs=_inputs(parts, runs),
            places=parts[2],
            which=parts[3],
            targets=parts[4],
            lengths=to_device(sequence.lengths, self._device),
            scored=len(which),
            parts=parts,
            storage=storage,
        )

    def _mask(self, reach: IntArray) -> tuple[list[np.ndarray], tuple[Run, ...]]:
        """Who sees whom, as arrays for a kernel or as runs."""
        if self._attention == "blocks":
            return [], tuple(cut_runs(reach))
        return mask_parts(reach) if self._attention == "flex" else [reach], ()


def moved(micro: MicroBatch) -> MicroBatch:
    """`micro`, made by a `PackedScorer`, with its tensors in memory of their own."""
    assert micro.storage is not None
    storage = micro.storage.clone()
    parts = tuple(_view(storage, part) for part in micro.parts)
    inputs = _inputs(parts, micro.inputs["packed_layout"].runs)
    return replace(
        micro, inputs=inputs, places=parts[2], which=parts[3], targets=parts[4], parts=parts, storage=storage
    )


def _view(storage: Tensor, part: Tensor) -> Tensor:
    """The part of `storage` that lies where `part` lies in its own."""
    start, size = part.storage_offset() * part.element_size(), part.numel() * part.element_size()
    return storage[start : start + size].view(part.dtype).view(part.shape)


def _inputs(parts: Sequence[Tensor], runs: tuple[Run, ...]) -> dict[str, Any]:
    ids, positions, places, _, _, *mask = parts
    layout = make_layout(runs, mask, places, len(ids))
    return {
        "input_ids": ids[None],
        "position_ids": positions[None],
        "attention_mask": layout.mask,
        "packed_layout": layout,
    }


def _fill(sequence: PackedSequence, length: int) -> PackedSequence:
    """The sequence with tokens behind it that see only each other and from which nothing is predicted."""
    more = length - len(sequence.ids)
    return replace(
        sequence,
        ids=np.append(sequence.ids, np.repeat(sequence.ids[:1], more)),
        positions=np.append(sequence.positions, np.arange(more, dtype=np.int32)),
        reach=np.append(sequence.reach, np.full(more, length, dtype=np.int32)),
    )


def _fill_places(places: np.ndarray, length: int, predicting: int) -> np.ndarray:
    """The places, and others from which nothing is predicted."""
    return np.append(places, np.setdiff1d(np.arange(length), places)[: predicting - len(places)])


def _up_to(size: int, array: np.ndarray) -> np.ndarray:
    return np.append(array, np.zeros(size - len(array), dtype=array.dtype))
