"""A line chart as inline SVG; colours come from the page's style sheet, so that light and dark both work."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from quickalign.train.report.curves import Curve, Point
from quickalign.train.report.ticks import nice_ticks, tick_labels

# Narrow, because the page scales a chart to its card: at 375 px its letters keep their size.
WIDTH, HEIGHT = 380, 210
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 24

_NOTHING = 1e-200
"""What is nearer to nothing than that is nothing: numbers so small lose their digits."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart to draw: its curves share one pair of axes.

    Attributes:
        title: heading of the chart.
        curves: at least one.
        unit: unit of the values, or an empty text.
        hint: what to look for, as one sentence, or an empty text.
        lowest: a value that the axis must include.
        highest: another one.
        guide: a value to draw a dashed line at, such as chance.
    """

    title: str
    curves: tuple[Curve, ...]
    unit: str = ""
    hint: str = ""
    lowest: float | None = None
    highest: float | None = None
    guide: float | None = None


class _Frame:
    """From steps and values to places in the picture."""

    def __init__(self, chart: Chart) -> None:
        points = [point for curve in chart.curves for point in curve.points]
        steps = [step for step, _ in points]
        values = [value for _, value in points]
        extra = [value for value in (chart.lowest, chart.highest, chart.guide) if value is not None]
        self.left, self.right = min(steps), max(steps)
        low, high = min(values + extra), max(values + extra)
        size = max(abs(low), abs(high))
        if high - low <= max(1e-9 * size, _NOTHING):  # a constant, up to rounding
            around = size / 10 if size > _NOTHING else 0.1
            low, high = low - around, high + around
        room = 0.04 * (high - low)
        self.low = low if low == chart.lowest else low - room
        self.high = high if high == chart.highest else high + room

    def x(self, step: float) -> float:
        share = (step - self.left) / ((self.right - self.left) or 1)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def draw(chart: Chart) -> Markup:
    """The chart as an `<svg>` element."""
    frame = _Frame(chart)
    inside = [*_axes(frame), *_guide(chart, frame)]
    for curve in chart.curves:
        inside += _line(curve, frame)
    label = Markup.escape(f"{chart.title} by step")
    return Markup(  # noqa: S704 - made of numbers and escaped texts only
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(inside)}</svg>'
    )


def _axes(frame: _Frame) -> list[str]:
    parts = []
    ticks = nice_ticks(frame.low, frame.high)
    for tick, text in zip(ticks, tick_labels(ticks), strict=True):
        y = frame.y(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{text}</text>')
    steps = nice_ticks(frame.left, frame.right, whole=True)
    for tick, text in zip(steps, tick_labels(steps), strict=True):
        x = frame.x(tick)
        anchor = "end" if x > WIDTH - RIGHT - 14 else "middle"
        parts.append(f'<text class="tick" x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="{anchor}">{text}</text>')
    return parts


def _guide(chart: Chart, frame: _Frame) -> list[str]:
    if chart.guide is None:
        return []
    y = frame.y(chart.guide)
    return [f'<line class="guide" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>']


def _line(curve: Curve, frame: _Frame) -> list[str]:
    parts = []
    if len(curve.points) > 1:
        faint = " faint" if curve.trend else ""
        parts.append(f'<path class="line {curve.tone}{faint}" d="{_path(curve.points, frame)}"/>')
    if curve.trend:
        parts.append(f'<path class="line {curve.tone}" d="{_path(curve.trend, frame)}"/>')
    if curve.marked or len(curve.points) == 1:
        parts += [
            f'<circle class="dot {curve.tone}" cx="{frame.x(step):.1f}" cy="{frame.y(value):.1f}" r="3.2"/>'
            for step, value in curve.points
        ]
    return parts


def _path(points: Sequence[Point], frame: _Frame) -> str:
    return "M" + "L".join(f"{frame.x(step):.1f} {frame.y(value):.1f}" for step, value in points)
