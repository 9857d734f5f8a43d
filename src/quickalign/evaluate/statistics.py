"""How sure a figure is: bootstrap intervals, differences between two models on the same rows, and a sign test.

A figure is a ratio of sums over rows (a mean, where every row counts 1 below the line). Rows that share a prompt are
not independent, so whole groups of rows are drawn with replacement, not rows (the cluster bootstrap: Davison and
Hinkley 1997, section 3.8); intervals are the percentiles of what the draws give (Efron and Tibshirani 1993, chapter
13). Two models are compared by drawing the same groups for both (the paired bootstrap of Koehn 2004), and two yes-or-no
judgements by the exact sign test on the rows that they judge differently, which is McNemar's test (McNemar 1947).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_NUMBERS_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True)
class Column:
    """A figure row by row: `shape(sum(above) / sum(below))` over the rows. `group` says which rows belong together."""

    above: Floats
    below: Floats
    group: Integers
    shape: Callable[[Floats], Floats] = lambda ratio: ratio

    @property
    def value(self) -> float:
        """The figure over all rows."""
        return float(self.shape(np.asarray(self.above.sum() / self.below.sum())))

    def only(self, rows: npt.NDArray[np.bool_]) -> Column:
        """The figure on some of the rows."""
        return Column(self.above[rows], self.below[rows], self.group[rows], self.shape)


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and the range that it likely lies in."""

    value: float
    low: float
    high: float


class Bootstrap:
    """Draws groups of rows with replacement; the same seed draws the same groups for every column of equal groups."""

    def __init__(self, *, resamples: int, confidence: float, seed: int) -> None:
        self._resamples, self._confidence, self._seed = resamples, confidence, seed

    def interval(self, column: Column) -> Interval:
        """The figure with its interval; a single group gives no width."""
        return self._around(column.value, self._drawn(column))

    def difference(self, one: Column, other: Column) -> Interval:
        """`one` minus `other`, both on the same rows in the same order."""
        return self._around(one.value - other.value, self._drawn(one) - self._drawn(other))

    def _drawn(self, column: Column) -> Floats:
        _, group = np.unique(column.group, return_inverse=True)
        sums = np.stack([np.bincount(group, part) for part in (column.above, column.below)])
        groups = sums.shape[1]
        generator = np.random.default_rng(self._seed)
        at_once = max(1, _NUMBERS_AT_ONCE // groups)
        drawn = []
        for start in range(0, self._resamples, at_once):
            count = min(at_once, self._resamples - start)
            times = generator.multinomial(groups, np.full(groups, 1 / groups), size=count)
            drawn.append(times @ sums.T)
        above, below = np.concatenate(drawn).T
        with np.errstate(invalid="ignore", divide="ignore"):
            return column.shape(above / below)

    def _around(self, value: float, drawn: Floats) -> Interval:
        outside = (1 - self._confidence) / 2
        low, high = np.nanquantile(drawn, [outside, 1 - outside])
        return Interval(value, float(low), float(high))


@dataclass(frozen=True, slots=True)
class SignTest:
    """How often one side wins and loses, ties left out, and how likely a result this uneven is by chance alone."""

    wins: int
    losses: int
    ties: int
    p_value: float


def sign_test(differences: Floats) -> SignTest:
    """The exact two-sided sign test of differences; zeros are ties and say nothing (Dixon and Mood 1946)."""
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    return SignTest(wins, losses, len(differences) - wins - losses, binomial_p(min(wins, losses), wins + losses))


def binomial_p(fewer: int, trials: int) -> float:
    """The chance that a fair coin lands on one of its sides at most `fewer` times in `trials` throws."""
    logs = [math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1) for k in range(fewer + 1)]
    return min(1.0, 2 * math.fsum(math.exp(log - trials * math.log(2)) for log in logs))
