"""Intervals and tests against theory and enumeration, not against what the code printed."""

import itertools
import math

import numpy as np
import pytest

from quickalign.evaluate.statistics import Bootstrap, Column, binomial_p, sign_test

NORMAL_95 = 1.96


def column(values, groups=None, below=None, shape=None):
    values = np.asarray(values, dtype=np.float64)
    parts = {"shape": shape} if shape else {}
    return Column(
        values,
        np.ones(len(values)) if below is None else np.asarray(below, dtype=np.float64),
        np.arange(len(values)) if groups is None else np.asarray(groups),
        **parts,
    )


def bootstrap(resamples=4000, confidence=0.95, seed=1):
    return Bootstrap(resamples=resamples, confidence=confidence, seed=seed)


def test_the_interval_of_a_mean_is_that_of_normal_theory():
    values = np.random.default_rng(0).normal(3, 2, 400)
    found = bootstrap().interval(column(values))
    error = values.std() / math.sqrt(len(values))
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - NORMAL_95 * error, abs=0.15 * error)
    assert found.high == pytest.approx(values.mean() + NORMAL_95 * error, abs=0.15 * error)


def test_a_wider_confidence_gives_a_wider_interval():
    values = np.random.default_rng(0).normal(size=100)
    narrow, wide = (bootstrap(confidence=c).interval(column(values)) for c in (0.8, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_rows_of_one_prompt_count_as_one():
    values = np.random.default_rng(0).normal(size=60)
    once = bootstrap().interval(column(values))
    tripled = bootstrap().interval(column(np.repeat(values, 3), groups=np.repeat(np.arange(60), 3)))
    assert (tripled.low, tripled.high) == pytest.approx((once.low, once.high))
    pretending = bootstrap().interval(column(np.repeat(values, 3)))
    assert pretending.high - pretending.low < 0.7 * (once.high - once.low)


def test_a_ratio_is_of_sums_and_shaped():
    found = bootstrap().interval(column([2.0, 6.0], below=[1.0, 3.0], shape=np.exp))
    assert found.value == pytest.approx(math.exp(2))
    assert (found.low, found.high) == pytest.approx((math.exp(2), math.exp(2)))


def test_a_difference_is_drawn_together():
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 5, 200)
    one, other = column(hard + 0.3 + rng.normal(0, 0.1, 200)), column(hard)
    together = bootstrap().difference(one, other)
    assert together.low > 0.25
    assert together.high < 0.35
    apart = bootstrap().interval(one)
    assert apart.high - apart.low > 1


def test_equal_models_differ_by_nothing():
    values = column(np.random.default_rng(0).normal(size=50))
    found = bootstrap().difference(values, values)
    assert (found.value, found.low, found.high) == (0, 0, 0)


@pytest.mark.parametrize(("fewer", "trials"), [(0, 1), (0, 6), (1, 6), (2, 9), (5, 10), (4, 11)])
def test_the_sign_test_counts_coin_throws(fewer, trials):
    throws = [sum(throw) for throw in itertools.product((0, 1), repeat=trials)]
    as_uneven = sum(heads <= fewer or heads >= trials - fewer for heads in throws)
    wanted = 1.0 if 2 * fewer == trials else as_uneven / len(throws)
    assert binomial_p(fewer, trials) == pytest.approx(wanted)


def test_ties_say_nothing():
    found = sign_test(np.array([1.0, 0.5, 0, 0, -1, 2]))
    assert (found.wins, found.losses, found.ties) == (3, 1, 2)
    assert found.p_value == binomial_p(1, 4)


def test_no_difference_at_all_is_no_evidence():
    assert sign_test(np.zeros(5)).p_value == 1
