"""A job's metrics as columns of numbers, and as few points of them as a screen can show.

Each bucket of steps keeps its lowest and its highest value, so that no spike is lost however far one looks from.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from quickalign.platform.jobs.metric_columns import MetricColumns

STEPS = (
    "loss",
    "rewards_chosen",
    "rewards_rejected",
    "rewards_margin",
    "rewards_accuracy",
    "logps_chosen",
    "logps_rejected",
    "grad_norm",
    "learning_rate",
    "tokens_per_second",
    "pairs_per_second",
    "peak_memory_bytes",
)
_FEWEST_BUCKETS = 8
NAMES = ("step", *STEPS)
_ALL = itemgetter(*NAMES)
_NAN = float("nan")

Numbers = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


@dataclass(slots=True)
class Columns:
    """Lines of metrics, a column for each measured value; missing values are NaN."""

    steps: array[float] = field(default_factory=lambda: array("d"))
    values: dict[str, array[float]] = field(default_factory=lambda: {name: array("d") for name in STEPS})
    last: dict[str, Any] | None = None

    def add(self, lines: Sequence[dict[str, Any]]) -> None:
        """Take more lines."""
        if not lines:
            return
        steps, *found = zip(*_rows(lines), strict=True)
        known = len(self.steps)
        self.steps.extend(_column([known + n if step is None else step for n, step in enumerate(steps, start=1)]))
        for column, values in zip(self.values.values(), found, strict=True):
            column.extend(_column(values))
        self.last = lines[-1]

    def begin(self, found: MetricColumns) -> None:
        """Take the first lines, which came as columns."""
        self.clear()
        steps = found.values["step"]
        places = np.arange(1, len(steps) + 1, dtype=np.float64)
        self.steps.frombytes(np.where(np.isnan(steps), places, steps).tobytes())
        for name, column in self.values.items():
            column.frombytes(found.values[name].tobytes())
        self.last = found.last

    def clear(self) -> None:
        """Forget all lines."""
        del self.steps[:]
        for column in self.values.values():
            del column[:]
        self.last = None

    def between(self, first: float | None, last: float | None) -> tuple[int, int]:
        """The places of the lines from step `first` to step `last`: the begin, and the end, which is not among them."""
        begin = 0 if first is None else bisect_left(self.steps, first)
        end = len(self.steps) if last is None else bisect_right(self.steps, last, lo=begin)
        return begin, end

    def thinned(self, begin: int, end: int, points: int) -> dict[str, Any]:
        """The lines between two places, thinned to about `points`.

        Returns:
            `steps`, and in `values` a list of the same length for each measured value that occurs, with None where it
            is missing; `total` is the number of all lines, `exact` says whether none between was left out.
        """
        views = {name: _view(column)[begin:end] for name, column in self.values.items()}
        steps = _view(self.steps)[begin:end]
        picked = None if end - begin <= points else _picked(list(views.values()), points)
        shown = {name: view if picked is None else view[picked] for name, view in views.items()}
        return {
            "steps": (steps if picked is None else steps[picked]).tolist(),
            "values": {name: _known(view) for name, view in shown.items() if not np.isnan(view).all()},
            "total": len(self.steps),
            "exact": picked is None,
        }


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else _NAN


def _rows(lines: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """The step and the measured values of each line. Runs name all of them, which is read several times faster."""
    try:
        return list(map(_ALL, lines))
    except KeyError:
        return [tuple(map(line.get, NAMES)) for line in lines]


def _column(found: Sequence[Any]) -> array[float]:
    """Values as numbers. Most are there in every line or in none, and need no look at each."""
    if found.count(None) == len(found):
        return array("d", [_NAN]) * len(found)
    try:
        return array("d", found)
    except TypeError:
        return array("d", map(_number, found))


def _view(column: array[float]) -> Numbers:
    """The same memory for numpy. A column cannot grow while a view of it lives."""
    return np.frombuffer(column, dtype=np.float64) if column else np.empty(0)


def _known(view: Numbers) -> list[float | None]:
    values: list[float | None] = view.tolist()
    for place in np.flatnonzero(~np.isfinite(view)):
        values[place] = None
    return values


def _picked(views: list[Numbers], points: int) -> Places:
    """Places that show the lowest and the highest of every measured value in each bucket, and both ends."""
    total = len(views[0])
    present = [view for view in views if not np.isnan(view).all()]
    buckets = max(points // max(2 * len(present), 1), _FEWEST_BUCKETS)
    borders = [total * bucket // buckets for bucket in range(buckets + 1)]
    picked = {0, total - 1}
    for view in present:
        missing = np.isnan(view)
        low, high = np.where(missing, np.inf, view), np.where(missing, -np.inf, view)
        for begin, end in pairwise(borders):
            picked.add(begin + int(low[begin:end].argmin()))
            picked.add(begin + int(high[begin:end].argmax()))
    return np.array(sorted(picked))
