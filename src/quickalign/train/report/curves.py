"""Curves of a run: thinned so that 100,000 steps stay readable, and smoothed so that a trend is seen."""

from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[float, float]

MOST_POINTS = 600
SMOOTHED_FROM = 40
"""Curves of fewer points are drawn as they are."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a chart.

    Attributes:
        name: shown in the legend.
        tone: which colour of the page's palette.
        points: (step, value) as they are drawn, at most `MOST_POINTS`.
        trend: the moving mean, or nothing where there are few points.
        first: the first value.
        last: the last value; of the trend, where there is one.
        marked: whether every point gets a dot, for a few measurements rather than a line of steps.
    """

    name: str
    tone: str
    points: tuple[Point, ...]
    trend: tuple[Point, ...]
    first: float
    last: float
    marked: bool = False


def make_curve(name: str, tone: str, points: Sequence[Point], *, marked: bool = False, noisy: bool = True) -> Curve:
    """Thin one curve of at least one point, and smooth it where it is noisy and long."""
    window = smoothing_window(len(points))
    trend = () if marked or not noisy or window == 1 else moving_mean(points, window)
    return Curve(
        name=name,
        tone=tone,
        points=thin(points),
        trend=thin(trend),
        first=points[0][1],
        last=(trend or points)[-1][1],
        marked=marked,
    )


def smoothing_window(count: int) -> int:
    """Steps that a trend's mean goes over: a fortieth of the curve and at least five, or 1 for no smoothing."""
    return max(5, count // 40) if count >= SMOOTHED_FROM else 1


def moving_mean(points: Sequence[Point], window: int) -> tuple[Point, ...]:
    """Each value replaced by the mean of it and the up to `window` - 1 values before it."""
    means: list[Point] = []
    total = 0.0
    for index, (step, value) in enumerate(points):
        total += value
        if index >= window:
            total -= points[index - window][1]
        means.append((step, total / min(index + 1, window)))
    return tuple(means)


def thin(points: Sequence[Point], most: int = MOST_POINTS) -> tuple[Point, ...]:
    """At most `most` of the points: the ends, and the lowest and highest of each stretch, so that no peak is lost."""
    if len(points) <= most:
        return tuple(points)
    inner = points[1:-1]
    stretches = (most - 2) // 2
    kept = [points[0]]
    for number in range(stretches):
        start, end = (len(inner) * edge // stretches for edge in (number, number + 1))
        stretch = range(start, end)
        extremes = {
            min(stretch, key=lambda index: inner[index][1]),
            max(stretch, key=lambda index: inner[index][1]),
        }
        kept.extend(inner[index] for index in sorted(extremes))
    return (*kept, points[-1])
