"""Preference losses: pure functions from log-probs to one loss per pair.

Every function takes vectors over the pairs of a batch, in nats, and returns the vector of losses; the mean over the
optimiser batch is what is minimised. `chosen_ratio` is log pi(chosen|prompt) - log pi_ref(chosen|prompt), and
`rejected_ratio` likewise; `margin` is their difference.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from quickalign.core.hyperparameters import Hyperparameters, LossType


@dataclass(frozen=True, slots=True)
class PairLogps:
    """Summed log-probs of the answers of `pairs` pairs under one model, and the answers' lengths in tokens."""

    chosen: Tensor
    rejected: Tensor
    chosen_lengths: Tensor
    rejected_lengths: Tensor


@dataclass(frozen=True, slots=True)
class PairLosses:
    """Per pair: the loss to minimise and the implicit rewards (detached) that the metrics report."""

    losses: Tensor
    rewards_chosen: Tensor
    rewards_rejected: Tensor


@dataclass(frozen=True, slots=True)
class LossInputs:
    """What a loss may look at; `reference` terms are zero for reference-free losses."""

    policy: PairLogps
    chosen_ratio: Tensor
    rejected_ratio: Tensor
    parameters: Hyperparameters

    @property
    def margin(self) -> Tensor:
        """Difference of the log-ratios, [pairs]."""
        return self.chosen_ratio - self.rejected_ratio

    @property
    def beta(self) -> float:
        """The option dpo_beta."""
        return self.parameters.dpo_beta

    @property
    def chosen_average(self) -> Tensor:
        """Length-normalised log-prob of the chosen answers, [pairs]."""
        return self.policy.chosen / self.policy.chosen_lengths

    @property
    def rejected_average(self) -> Tensor:
        """Length-normalised log-prob of the rejected answers, [pairs]."""
        return self.policy.rejected / self.policy.rejected_lengths


def sigmoid(x: LossInputs) -> Tensor:
    """DPO: -log sigmoid(beta margin) (Rafailov et al. 2023, eq. 7); with smoothing e, the conservative form.

    cDPO (Mitchell 2023): -(1-e) log sigmoid(beta margin) - e log sigmoid(-beta margin).
    """
    logits = x.beta * x.margin
    smoothing = x.parameters.label_smoothing
    return -(1 - smoothing) * F.logsigmoid(logits) - smoothing * F.logsigmoid(-logits)


def robust(x: LossInputs) -> Tensor:
    """Robust DPO, the unbiased estimate under label flips of rate e (Chowdhury et al. 2024, eq. 12)."""
    logits = x.beta * x.margin
    flip = x.parameters.label_smoothing
    return (-(1 - flip) * F.logsigmoid(logits) + flip * F.logsigmoid(-logits)) / (1 - 2 * flip)


def hinge(x: LossInputs) -> Tensor:
    """SLiC's hinge on the DPO margin (Zhao et al. 2023; Liu et al. 2024, RSO, table 1): max(0, 1 - beta margin)."""
    return torch.relu(1 - x.beta * x.margin)


def ipo(x: LossInputs) -> Tensor:
    """IPO (Azar et al. 2023, eq. 17) on length-normalised log-ratios: (margin - 1 / (2 beta))^2.

    The normalisation by answer length is what the authors used for their results and what TRL does; the first public
    DPO code sums instead.
    """
    margin = x.chosen_ratio / x.policy.chosen_lengths - x.rejected_ratio / x.policy.rejected_lengths
    return (margin - 1 / (2 * x.beta)) ** 2


def simpo(x: LossInputs) -> Tensor:
    """SimPO (Meng et al. 2024, eq. 6), reference-free: -log sigmoid(beta (avg chosen - avg rejected) - gamma)."""
    return -F.logsigmoid(x.beta * (x.chosen_average - x.rejected_average) - x.parameters.simpo_gamma)


def orpo(x: LossInputs) -> Tensor:
    """ORPO (Hong et al. 2024, eq. 6-7), reference-free: chosen NLL + beta * -log sigmoid(log odds ratio).

    Both terms use length-normalised log-probs; beta plays the paper's lambda.
    """
    log_odds = _log_odds(x.chosen_average) - _log_odds(x.rejected_average)
    return -x.chosen_average - x.beta * F.logsigmoid(log_odds)


def _log_odds(log_probability: Tensor) -> Tensor:
    """log(p / (1 - p)) from log p <= 0, without cancellation near p = 1."""
    bounded = log_probability.clamp(max=-torch.finfo(log_probability.dtype).eps)
    return bounded - torch.log(-torch.expm1(bounded))


def dpop(x: LossInputs) -> Tensor:
    """DPO-Positive (Pal et al. 2024, eq. 3): the margin is charged lambda * max(0, -chosen_ratio)."""
    penalty = x.parameters.dpop_lambda * torch.relu(-x.chosen_ratio)
    return -F.logsigmoid(x.beta * (x.margin - penalty))


def apo_zero(x: LossInputs) -> Tensor:
    """APO-zero (D'Oosterlinck et al. 2024, eq. 7): chosen up, rejected down, each on its own."""
    return 1 - torch.sigmoid(x.beta * x.chosen_ratio) + torch.sigmoid(x.beta * x.rejected_ratio)


def apo_down(x: LossInputs) -> Tensor:
    """APO-down (D'Oosterlinck et al. 2024, eq. 8): both down, rejected further; for chosen below the model's level."""
    return torch.sigmoid(x.beta * x.chosen_ratio) + 1 - torch.sigmoid(x.beta * x.margin)


LOSSES: dict[LossType, Callable[[LossInputs], Tensor]] = {
    "sigmoid": sigmoid,
    "ipo": ipo,
    "hinge": hinge,
    "robust": robust,
    "simpo": simpo,
    "orpo": orpo,
    "dpop": dpop,
    "apo_zero": apo_zero,
    "apo_down": apo_down,
}


def preference_losses(policy: PairLogps, reference: PairLogps | None, parameters: Hyperparameters) -> PairLosses:
    """The loss of `parameters.loss_type` and the implicit rewards of each pair.

    Args:
        policy: log-probs under the model in training, [pairs] each, differentiable.
        reference: log-probs under the reference, [pairs] each; None for reference-free losses.
        parameters: loss_type, dpo_beta and the loss's own options. `sft_weight` adds the length-normalised negative
            log-likelihood of the chosen answer (Pang et al. 2024, Iterative RPO, eq. 1, over answer tokens).

    Rewards are beta * log-ratio (Rafailov et al. 2023, sec. 4), or beta * average log-prob where there is no reference.
    """
    if reference is None:
        zero = torch.zeros_like(policy.chosen)
        inputs = LossInputs(policy, zero, zero, parameters)
        chosen, rejected = inputs.chosen_average, inputs.rejected_average
    else:
        chosen, rejected = policy.chosen - reference.chosen, policy.rejected - reference.rejected
        inputs = LossInputs(policy, chosen, rejected, parameters)
    losses = LOSSES[parameters.loss_type](inputs)
    if parameters.sft_weight:
        losses = losses - parameters.sft_weight * inputs.chosen_average
    beta = parameters.dpo_beta
    return PairLosses(losses, beta * chosen.detach(), beta * rejected.detach())
