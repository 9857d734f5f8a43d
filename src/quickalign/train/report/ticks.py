"""Axis ticks at round numbers."""

import itertools
import math
from collections.abc import Sequence

from quickalign.train.report.formats import minus

_ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)
# More than a float can tell apart beside 1.
_MOST_DECIMALS = 16


def nice_ticks(low: float, high: float, count: int = 4, *, whole: bool = False) -> list[float]:
    """About `count` round numbers from `low` to `high`; `whole` allows integers only."""
    if high <= low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in _ROUND if power * factor >= rough * (1 - 1e-9))
    if whole:
        step = max(1.0, math.ceil(step))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """The ticks as texts with as many decimals as their distance needs."""
    if not ticks:
        return []
    distance = min((b - a for a, b in itertools.pairwise(ticks)), default=abs(ticks[0]) or 1.0)
    largest = max(abs(tick) for tick in ticks)
    if largest and (largest < 1e-3 or largest >= 1e7):
        return ["0" if tick == 0 else minus(_scientific(tick)) for tick in ticks]
    if largest >= 10_000 and distance >= 100:
        return [minus(f"{tick / 1000:g}k") for tick in ticks]
    enough = (d for d in range(_MOST_DECIMALS) if abs(round(distance, d) - distance) < distance / 100)
    decimals = next(enough, _MOST_DECIMALS)
    return [minus(f"{tick:.{decimals}f}") for tick in ticks]


def _scientific(value: float) -> str:
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
