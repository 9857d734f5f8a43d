"""Curves of a job for the screen: a hundred thousand steps become at most as many points as there are pixels.

Each bucket of steps keeps its lowest and its highest value, so that no spike is lost however far one looks from.
"""

from __future__ import annotations

import math
import threading
from array import array
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from quickalign.core.wire.jobs import MetricsPage
from quickalign.platform import Platform

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
_MOST_POINTS = 4000
_LINES_AT_ONCE = 10_000
_KEPT_JOBS = 64
_NAN = float("nan")


@dataclass(slots=True)
class _Columns:
    """A job's metrics as columns. `generation` changes where a run went back and its lines were written again."""

    steps: array[float] = field(default_factory=lambda: array("d"))
    values: dict[str, array[float]] = field(default_factory=lambda: {name: array("d") for name in STEPS})
    last: dict[str, Any] | None = None
    generation: int = 0
    complete: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, lines: tuple[dict[str, Any], ...]) -> None:
        """Take more lines."""
        known = len(self.steps)
        self.steps.extend([_number(line.get("step", known + place)) for place, line in enumerate(lines, start=1)])
        for name, column in self.values.items():
            found: list[Any] = [line.get(name) for line in lines]
            # most curves are there in every line or in none, and need no look at each value
            plain = all(type(value) is float for value in found)
            column.extend(found if plain else [_number(value) for value in found])
        if lines:
            self.last = lines[-1]

    def clear(self) -> None:
        """Forget all lines."""
        del self.steps[:]
        for column in self.values.values():
            del column[:]
        self.last = None
        self.generation += 1


class SeriesStore:
    """Keeps the columns of the jobs that were looked at last, and reads only what is new."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, _Columns] = OrderedDict()

    def read(
        self, job_id: str, *, points: int, first: float | None = None, last: float | None = None
    ) -> dict[str, Any]:
        """Columns between two steps, thinned to about `points` points.

        Returns:
            `steps`, and a list of the same length for each measured value that occurs, with None where it is missing;
            `total` is the number of lines, `exact` says whether none was left out.
        """
        columns = self._columns(job_id)
        with columns.lock:
            self._update(job_id, columns)
            begin, end = _range(columns.steps, first, last)
            return _thinned(columns, begin, end, max(16, min(points, _MOST_POINTS)))

    def count(self, job_id: str) -> tuple[int, int]:
        """The generation and the number of lines now; cheap, so that pages can ask often."""
        columns = self._columns(job_id)
        with columns.lock:
            self._update(job_id, columns)
            return columns.generation, len(columns.steps)

    def _columns(self, job_id: str) -> _Columns:
        with self._lock:
            found = self._kept.setdefault(job_id, _Columns())
            self._kept.move_to_end(job_id)
            while len(self._kept) > _KEPT_JOBS:
                self._kept.popitem(last=False)
            return found

    def _update(self, job_id: str, columns: _Columns) -> None:
        if columns.complete:
            return
        if columns.last is not None and self._line(job_id, len(columns.steps) - 1) != columns.last:
            columns.clear()
        while True:
            page = self._page(job_id, len(columns.steps), _LINES_AT_ONCE)
            columns.add(page.items)
            columns.complete = page.complete
            if len(page.items) < _LINES_AT_ONCE:
                return

    def _line(self, job_id: str, number: int) -> dict[str, Any] | None:
        items = self._page(job_id, number, 1).items
        return items[0] if items else None

    def _page(self, job_id: str, offset: int, limit: int) -> MetricsPage:
        return self._platform.jobs.metrics(job_id, offset=offset, limit=limit)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else _NAN


def _range(steps: array[float], first: float | None, last: float | None) -> tuple[int, int]:
    begin, end = 0, len(steps)
    if first is not None:
        begin = next((i for i, step in enumerate(steps) if step >= first), end)
    if last is not None:
        end = next((i for i in range(begin, end) if steps[i] > last), end)
    return begin, end


def _thinned(columns: _Columns, begin: int, end: int, points: int) -> dict[str, Any]:
    picked = _picked(columns, begin, end, points)
    values = {}
    for name, column in columns.values.items():
        shown = [column[i] for i in picked] if picked is not None else column[begin:end].tolist()
        if any(not math.isnan(value) for value in shown):
            values[name] = [None if math.isnan(value) or math.isinf(value) else value for value in shown]
    steps = [columns.steps[i] for i in picked] if picked is not None else columns.steps[begin:end].tolist()
    return {
        "steps": steps,
        "values": values,
        "total": len(columns.steps),
        "generation": columns.generation,
        "exact": picked is None,
    }


def _picked(columns: _Columns, begin: int, end: int, points: int) -> list[int] | None:
    """Places that show every measured value's lowest and highest in each bucket; None where all can be shown."""
    total = end - begin
    if total <= points:
        return None
    present = [column for column in columns.values.values() if total and not math.isnan(column[begin])]
    buckets = max(points // max(2 * len(present), 1), 8)
    picked = {begin, end - 1}
    for bucket in range(buckets):
        low, high = begin + total * bucket // buckets, begin + total * (bucket + 1) // buckets
        for column in present:
            picked.update(low + place for place in _extremes(column[low:high]))
    return sorted(picked)


def _extremes(part: array[float]) -> tuple[int, int]:
    """Where the lowest and the highest value are; values that are missing are passed over."""
    lowest, highest = min(part), max(part)
    if math.isnan(lowest) or math.isnan(highest):
        known = [place for place, value in enumerate(part) if not math.isnan(value)] or [0]
        return min(known, key=part.__getitem__), max(known, key=part.__getitem__)
    return part.index(lowest), part.index(highest)
