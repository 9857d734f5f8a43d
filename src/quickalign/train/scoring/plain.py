"""The plain way to score: every answer is a right-padded row of its own, and the model's head makes all logits.

It is what every model can do, and the oracle that the fast path is tested against. It repeats the prompt for each
answer, and computes padding.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from quickalign.data.encode import EncodedRow
from quickalign.train.scoring.base import AnswerLogps, MicroBatch, to_device
from quickalign.train.scoring.reference import base_alone


class PlainScorer:
    """Scores `[prompt | answer]` rows: all chosen answers, then all rejected ones, in one forward pass."""

    def __init__(self, *, pad_id: int, rows_per_micro: int, device: torch.device) -> None:
        self._pad_id = pad_id
        self._rows_per_micro = rows_per_micro
        self._device = device

    def cut(self, rows: Sequence[EncodedRow]) -> list[MicroBatch]:
        """Cut `rows` in their order, `rows_per_micro` at a time."""
        starts = range(0, len(rows), self._rows_per_micro)
        return [self._pad(rows[start : start + self._rows_per_micro], start) for start in starts]

    def logps(self, model: nn.Module, micro: MicroBatch, *, adapter: bool = True) -> AnswerLogps:
        """Score through the model's own head; log-softmax in fp32 (fp64 for an fp64 model)."""
        if not adapter:
            with base_alone(model):
                return self.logps(model, micro)
        logits: Tensor = model(**micro.inputs, use_cache=False).logits
        scored = logits.flatten(0, 1)[micro.places]
        logps = scored.to(torch.promote_types(scored.dtype, torch.float32)).log_softmax(-1)
        return micro.per_answer(logps[micro.which, micro.targets])

    def _pad(self, rows: Sequence[EncodedRow], start: int) -> MicroBatch:
        answers = [row.answers for row in rows]
        count = len(answers[0])
        whole = [
            np.concatenate([row.prompt, texts[column]])
            for column in range(count)
            for row, texts in zip(rows, answers, strict=True)
        ]
        width = max(map(len, whole))
        ids = np.full((len(whole), width), self._pad_id, dtype=np.int64)
        for padded, tokens in zip(ids, whole, strict=True):
            padded[: len(tokens)] = tokens
        sources, targets, lengths = [], [], []
        for index, (row, texts) in enumerate(zip(rows, answers, strict=True)):
            for column, text in enumerate(texts):
                first = max(len(row.prompt), 1)
                line = column * len(rows) + index
                sources.append(line * width + np.arange(first - 1, len(row.prompt) + len(text) - 1))
                targets.append(whole[line][first:])
                lengths.append(len(targets[-1]))
        places, which = np.unique(np.concatenate(sources), return_inverse=True)
        widths = np.array([len(tokens) for tokens in whole])
        inputs = {"input_ids": ids, "attention_mask": np.arange(width) < widths[:, None]}
        return MicroBatch(
            rows=tuple(range(start, start + len(rows))),
            answers=count,
            tokens=int(widths.sum()),
            inputs={name: to_device(array, self._device) for name, array in inputs.items()},
            places=to_device(places, self._device),
            which=to_device(which, self._device),
            targets=to_device(np.concatenate(targets), self._device),
            lengths=to_device(np.reshape(lengths, (len(rows), count)), self._device),
            scored=sum(lengths),
        )
