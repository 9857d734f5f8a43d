"""The fast way to score: packed sequences in which every beginning stands once, and only scored positions in the head.

Its values and gradients are those of the plain way. What a model must be for that is `support.packing_obstacle`'s
matter.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from quickalign.data.pack import PackedSequence, pack
from quickalign.train.scoring.attention import make_layout
from quickalign.train.scoring.base import AnswerLogps, EncodedRow, MicroBatch, to_device
from quickalign.train.scoring.head import token_logps
from quickalign.train.scoring.parts import causal_model, decoder_of, head_of

# On a CPU a sequence, and its places, are filled up to a multiple of so many. oneDNN cuts a product's rows into equal
# pieces and has no good ones for some numbers: bf16 products at Qwen2-0.5B's shapes then take a third longer. Over
# random lengths of 130 to 500 tokens, multiples of 4 take 2 to 4 % less time, those of 16 only 1 %; in fp32, up to 1 %.
CPU_MULTIPLE = 4


class PackedScorer:
    """Scores micro-batches of at most `token_budget` tokens, each one packed sequence, and on a CPU what fills it up.

    The model must have been switched by `attention.use_packed_attention`.
    """

    def __init__(self, *, token_budget: int, device: torch.device) -> None:
        self._token_budget = token_budget
        self._device = device

    def cut(self, rows: Sequence[EncodedRow]) -> list[MicroBatch]:
        """Pack `rows` by the token budget; a longer row is a micro-batch of its own."""
        return [self._micro_batch(sequence) for sequence in pack(rows, self._token_budget)]

    def logps(self, model: nn.Module, micro: MicroBatch) -> AnswerLogps:
        """Run the decoder, then the one-pass head on the scored positions."""
        base = causal_model(model)
        hidden: Tensor = decoder_of(base)(**micro.inputs, use_cache=False).last_hidden_state
        scored = hidden.flatten(0, 1)[micro.positions]
        return micro.per_answer(token_logps(head_of(base), scored, micro.which, micro.targets))

    def _micro_batch(self, sequence: PackedSequence) -> MicroBatch:
        sources, which = np.unique(sequence.sources, return_inverse=True)
        filled = sequence
        if self._device.type == "cpu":
            filled, sources = _fill(sequence), _fill_places(sources, len(sequence.ids))
        places = to_device(sources, self._device)
        layout = make_layout(filled, places, self._device)
        return MicroBatch(
            rows=sequence.rows,
            answers=sequence.lengths.shape[1],
            tokens=len(sequence.ids),
            inputs={
                "input_ids": to_device(filled.ids, self._device)[None],
                "position_ids": to_device(filled.positions, self._device)[None],
                "attention_mask": layout.mask,
                "packed_layout": layout,
            },
            positions=places,
            which=to_device(which, self._device),
            targets=to_device(sequence.targets, self._device),
            lengths=to_device(sequence.lengths, self._device),
        )


def _fill(sequence: PackedSequence) -> PackedSequence:
    """The sequence with tokens behind it that see only each other and from which nothing is predicted."""
    length = len(sequence.ids)
    more = -length % CPU_MULTIPLE
    return replace(
        sequence,
        ids=np.append(sequence.ids, np.repeat(sequence.ids[:1], more)),
        positions=np.append(sequence.positions, np.arange(more, dtype=np.int32)),
        reach=np.append(sequence.reach, np.full(more, length + more, dtype=np.int32)),
    )


def _fill_places(sources: np.ndarray, length: int) -> np.ndarray:
    """The places, and some more from which nothing is predicted, as far as there are any."""
    more = -len(sources) % CPU_MULTIPLE
    return np.append(sources, np.setdiff1d(np.arange(length), sources)[:more])
