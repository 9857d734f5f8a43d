"""Each loss against vectors worked out by hand, and what must hold for all of them."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from quickalign.core.hyperparameters import Hyperparameters
from quickalign.train.losses import LOSSES, PairLogps, preference_losses

CHOSEN, REJECTED = [-0.5, -10.0, -1.0], [-0.1, -30.0, -21.0]
REFERENCE_CHOSEN, REFERENCE_REJECTED = [-0.5, -10.1, -0.1], [-0.1, -20.1, -0.1]
LENGTHS = [2, 4, 5]
FREE = {"simpo", "orpo"}


def pairs(chosen, rejected, lengths=LENGTHS):
    whole = torch.tensor(lengths)
    return PairLogps(
        torch.tensor(chosen, dtype=torch.float64), torch.tensor(rejected, dtype=torch.float64), whole, whole * 2
    )


def losses(loss_type, **options):
    parameters = Hyperparameters(training_strategy="dpo", loss_type=loss_type, **options)
    reference = None if loss_type in FREE else pairs(REFERENCE_CHOSEN, REFERENCE_REJECTED)
    return preference_losses(pairs(CHOSEN, REJECTED), reference, parameters)


def sig(x):
    return 1 / (1 + math.exp(-x))


# Log-ratios of the vector: chosen (0, 0.1, -0.9), rejected (0, -9.9, -20.9), margins (0, 10, 20); beta 0.1.
def test_sigmoid_vector_of_the_specification():
    assert losses("sigmoid").losses.tolist() == pytest.approx([0.6931, 0.3133, 0.1269], abs=5e-5)


def test_rewards_are_beta_times_log_ratio():
    found = losses("sigmoid")
    assert found.rewards_chosen.tolist() == pytest.approx([0.0, 0.01, -0.09])
    assert found.rewards_rejected.tolist() == pytest.approx([0.0, -0.99, -2.09])


def test_label_smoothing_reaches_the_sigmoid_loss():
    expected = [-0.9 * math.log(sig(m)) - 0.1 * math.log(sig(-m)) for m in (0.0, 1.0, 2.0)]
    assert losses("sigmoid", label_smoothing=0.1).losses.tolist() == pytest.approx(expected)


def test_robust():
    expected = [(-0.9 * math.log(sig(m)) + 0.1 * math.log(sig(-m))) / 0.8 for m in (0.0, 1.0, 2.0)]
    assert losses("robust", label_smoothing=0.1).losses.tolist() == pytest.approx(expected)


def test_hinge():
    assert losses("hinge").losses.tolist() == pytest.approx([1.0, 0.0, 0.0])


def test_ipo_is_length_normalised():
    # chosen lengths 2, 4, 5, rejected 4, 8, 10: margins 0, 0.025 + 1.2375, -0.18 + 2.09; target 5
    expected = [(m - 5) ** 2 for m in (0.0, 0.1 / 4 + 9.9 / 8, -0.9 / 5 + 20.9 / 10)]
    assert losses("ipo").losses.tolist() == pytest.approx(expected)


def test_simpo():
    averages = [(-0.5 / 2, -0.1 / 4), (-10 / 4, -30 / 8), (-1 / 5, -21 / 10)]
    expected = [-math.log(sig(0.1 * (c - r) - 0.3)) for c, r in averages]
    assert losses("simpo", simpo_gamma=0.3).losses.tolist() == pytest.approx(expected)


def test_orpo():
    averages = [(-0.5 / 2, -0.1 / 4), (-10 / 4, -30 / 8), (-1 / 5, -21 / 10)]

    def odds(log_p):
        return math.exp(log_p) / (1 - math.exp(log_p))

    expected = [-c - 0.1 * math.log(sig(math.log(odds(c) / odds(r)))) for c, r in averages]
    assert losses("orpo").losses.tolist() == pytest.approx(expected)


def test_dpop_charges_only_a_falling_chosen_likelihood():
    expected = [-math.log(sig(0.1 * m)) for m in (0.0, 10.0, 20.0 - 5 * 0.9)]
    assert losses("dpop", dpop_lambda=5.0).losses.tolist() == pytest.approx(expected)


def test_apo():
    chosen, rejected = (0.0, 0.01, -0.09), (0.0, -0.99, -2.09)
    zero = [1 - sig(c) + sig(r) for c, r in zip(chosen, rejected, strict=True)]
    down = [sig(c) + 1 - sig(c - r) for c, r in zip(chosen, rejected, strict=True)]
    assert losses("apo_zero").losses.tolist() == pytest.approx(zero)
    assert losses("apo_down").losses.tolist() == pytest.approx(down)


def test_sft_weight_adds_the_average_negative_log_likelihood():
    plain, weighted = losses("sigmoid").losses, losses("sigmoid", sft_weight=0.5).losses
    assert (weighted - plain).tolist() == pytest.approx([0.5 * 0.25, 0.5 * 2.5, 0.5 * 0.2])


@pytest.mark.parametrize("loss_type", sorted(LOSSES))
@given(
    chosen=st.floats(-200, -0.01),
    rejected=st.floats(-200, -0.01),
    length=st.integers(1, 50),
)
def test_a_better_chosen_answer_never_costs_more(loss_type, chosen, rejected, length):
    """Finite, and not increasing in the chosen log-prob, but for apo_down, which lowers both by intent, and ipo."""
    parameters = Hyperparameters(training_strategy="dpo", loss_type=loss_type)
    policy = torch.tensor([chosen], dtype=torch.float64, requires_grad=True)
    whole = PairLogps(policy, torch.tensor([rejected]).double(), torch.tensor([length]), torch.tensor([length]))
    reference = None if loss_type in FREE else pairs([-5.0], [-6.0], [length])
    loss = preference_losses(whole, reference, parameters).losses.sum()
    loss.backward()
    assert math.isfinite(loss.item())
    assert math.isfinite(policy.grad.item())
    if loss_type not in {"apo_down", "ipo"}:
        assert policy.grad.item() <= 0


@pytest.mark.parametrize("loss_type", sorted(set(LOSSES) - FREE))
def test_equal_models_give_zero_rewards(loss_type):
    parameters = Hyperparameters(training_strategy="dpo", loss_type=loss_type)
    same = pairs(CHOSEN, REJECTED)
    found = preference_losses(same, same, parameters)
    assert found.rewards_chosen.tolist() == [0, 0, 0]
    assert found.rewards_rejected.tolist() == [0, 0, 0]
