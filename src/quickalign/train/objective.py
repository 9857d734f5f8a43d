"""From one micro-batch to the quantity to minimise and the sums that the metrics are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from quickalign.core.hyperparameters import Hyperparameters
from quickalign.data.encode import EncodedPair, EncodedRow
from quickalign.train.losses import PairLogps, preference_losses
from quickalign.train.scoring.base import AnswerLogps, MicroBatch, Scorer
from quickalign.train.scoring.reference import LiveReference, Reference

# What `Scores.sums` holds, in this order; each is a sum over rows, except `answer_tokens` and `tokens`.
SUMS: Final = (
    "rows",
    "loss",
    "rewards_chosen",
    "rewards_rejected",
    "correct",
    "logps_chosen",
    "logps_rejected",
    "answer_tokens",
    "tokens",
)


@dataclass(frozen=True, slots=True)
class Scores:
    """A micro-batch's share of the objective.

    Attributes:
        loss: the sum of the rows' losses, differentiable; divided by the optimiser batch's rows (dpo) or answer tokens
            (sft) it is the share of the mean loss.
        sums: the quantities named in `SUMS`, fp64, without gradient.
        deviation: the largest |log-ratio| relative to max(1, |reference log-prob|); 0 without a reference.
    """

    loss: Tensor
    sums: Tensor
    deviation: Tensor


class Objective:
    """Scores micro-batches under the policy and, for dpo, the reference."""

    def __init__(self, scorer: Scorer, reference: Reference | None, parameters: Hyperparameters) -> None:
        self.scorer = scorer
        self._reference = reference
        self._parameters = parameters

    @property
    def per_token(self) -> bool:
        """Whether the mean is over answer tokens (sft) or over pairs (dpo)."""
        return self._parameters.training_strategy == "sft"

    def scores(self, model: nn.Module, micro: MicroBatch, rows: Sequence[EncodedRow]) -> Scores:
        """Score `micro`, which was cut from `rows`, an optimiser batch."""
        own = [rows[position] for position in micro.rows]
        # The reference first: its activations are gone before those of the policy are kept for the backward pass.
        reference = self._reference.logps(model, micro, own) if self._reference else None
        policy = self.scorer.logps(model, micro)
        if self.per_token:
            return _sft_scores(policy, micro)
        return self._dpo_scores(policy, reference, micro)

    def idle(self, model: nn.Module) -> Tensor:
        """The passes of a micro-batch over a made-up row, which counts for nothing: 0, with a gradient of zeros."""
        token = np.zeros(1, dtype=np.int32)
        rows = [EncodedPair(0, token, token, token)]
        micro = self.scorer.cut(rows)[0]
        if isinstance(self._reference, LiveReference):
            self._reference.logps(model, micro, rows)
        return 0.0 * self.scorer.logps(model, micro).sums.sum()

    def flush(self) -> None:
        """See `Reference.flush`."""
        if self._reference:
            self._reference.flush()

    @property
    def to_share(self) -> bool:
        """See `Reference.to_share`."""
        return self._reference is not None and self._reference.to_share

    def share(self) -> None:
        """See `Reference.share`."""
        if self._reference:
            self._reference.share()

    def _dpo_scores(self, policy: AnswerLogps, reference: Tensor | None, micro: MicroBatch) -> Scores:
        pairs = _pairs(policy.sums, policy.lengths)
        frozen = None if reference is None else _pairs(reference, policy.lengths)
        result = preference_losses(pairs, frozen, self._parameters)
        margin = result.rewards_chosen - result.rewards_rejected
        correct = (margin > 0).double() + 0.5 * (margin == 0).double()
        sums = _sums(
            micro,
            loss=result.losses,
            rewards_chosen=result.rewards_chosen,
            rewards_rejected=result.rewards_rejected,
            correct=correct,
            logps_chosen=pairs.chosen,
            logps_rejected=pairs.rejected,
        )
        deviation = sums.new_zeros(())
        if reference is not None:
            deviation = ((policy.sums.detach() - reference).abs() / reference.abs().clamp(min=1)).max().double()
        return Scores(result.losses.sum(), sums, deviation)


def _sft_scores(policy: AnswerLogps, micro: MicroBatch) -> Scores:
    loss = -policy.sums.sum()
    sums = _sums(micro, loss=loss, logps_chosen=-loss)
    return Scores(loss, sums, sums.new_zeros(()))


def _sums(micro: MicroBatch, **named: Tensor) -> Tensor:
    """`Scores.sums` of vectors over rows by their names in `SUMS`; what is not named, and not counted here, is 0."""
    answer_tokens = micro.lengths.sum().double()
    sums = {name: values.detach().double().sum() for name, values in named.items()}
    sums["rows"] = answer_tokens.new_tensor(float(len(micro.rows)))
    sums["answer_tokens"] = answer_tokens
    sums["tokens"] = answer_tokens.new_tensor(float(micro.tokens))
    return torch.stack([sums.get(name, torch.zeros_like(answer_tokens)) for name in SUMS])


def _pairs(sums: Tensor, lengths: Tensor) -> PairLogps:
    return PairLogps(sums[:, 0], sums[:, 1], lengths[:, 0], lengths[:, 1])
