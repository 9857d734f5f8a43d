"""Curves of jobs for the screen, read once for all pages that show them.

A file of a hundred thousand lines is parsed once and then only where it grew; fifty pages that follow one job look at
it once a second together, and get the same bytes.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson

from quickalign.console.columns import NAMES, Columns
from quickalign.core.errors import QuickalignError
from quickalign.core.wire.jobs import JobState
from quickalign.platform import Platform

FRESH_SECONDS = 1.0
"""How long what was seen of a job is good for everybody who asks."""

_LEAST_POINTS, _MOST_POINTS = 16, 4000
_LINES_AT_ONCE = 2_000
_KEPT_JOBS = 64
_KEPT_ANSWERS = 8

Asked = tuple[int, float | None, float | None]


@dataclass(slots=True)
class _Curves:
    """One job's. `generation` changes where a run went back and its lines were written again."""

    columns: Columns = field(default_factory=Columns)
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    generation: int = 0
    complete: bool = False
    looked: float = float("-inf")
    answers: OrderedDict[Asked, tuple[str, bytes]] = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def mark(self) -> str:
        """Another text whenever the curves are others."""
        return f"{self.generation}.{len(self.columns.steps)}.{len(self.evaluations)}"

    def clear(self) -> None:
        """Begin again."""
        self.columns.clear()
        self.evaluations.clear()
        self.generation += 1


class SeriesStore:
    """Keeps the curves of the jobs that were looked at last, and reads only what is new."""

    def __init__(self, platform: Platform, clock: Callable[[], float] = time.monotonic) -> None:
        self._platform, self._clock = platform, clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, _Curves] = OrderedDict()

    def read(self, job_id: str, *, points: int, first: float | None = None, last: float | None = None) -> bytes:
        """Curves between two steps, thinned to about `points` points, as JSON.

        Returns:
            what `Columns.thinned` says, the `evaluations`, and the `mark` of all.
        """
        asked = (max(_LEAST_POINTS, min(points, _MOST_POINTS)), first, last)
        curves = self._curves(job_id)
        with curves.lock:
            self._update(job_id, curves)
            mark, answer = curves.answers.get(asked, ("", b""))
            if mark != curves.mark:
                answer = _answer(curves, asked)
                curves.answers[asked] = (curves.mark, answer)
                while len(curves.answers) > _KEPT_ANSWERS:
                    curves.answers.popitem(last=False)
            return answer

    def prepare(self, job_id: str) -> None:
        """Begin to read what there is, for those who will ask for it in a moment."""
        curves = self._curves(job_id)
        if not curves.complete and self._clock() - curves.looked >= FRESH_SECONDS:
            threading.Thread(target=self._prepare, args=(job_id,), name=f"series-{job_id}", daemon=True).start()

    def _prepare(self, job_id: str) -> None:
        with suppress(QuickalignError):
            self.state(job_id)

    def state(self, job_id: str) -> tuple[str, int]:
        """The mark of the curves now, and the number of steps; cheap, so that pages can ask often."""
        curves = self._curves(job_id)
        with curves.lock:
            self._update(job_id, curves)
            return curves.mark, len(curves.columns.steps)

    def _curves(self, job_id: str) -> _Curves:
        with self._lock:
            found = self._kept.setdefault(job_id, _Curves())
            self._kept.move_to_end(job_id)
            while len(self._kept) > _KEPT_JOBS:
                self._kept.popitem(last=False)
            return found

    def _update(self, job_id: str, curves: _Curves) -> None:
        now = self._clock()
        if curves.complete or now - curves.looked < FRESH_SECONDS:
            return
        columns = curves.columns
        if columns.last is not None and self._line(job_id, len(columns.steps) - 1) != columns.last:
            curves.clear()
        complete = self._read_on(job_id, curves)
        page = self._platform.jobs.metrics(job_id, kind="evaluations", offset=len(curves.evaluations), limit=10_000)
        curves.evaluations.extend(page.items)
        curves.complete = complete and page.complete and self._is_over_for_good(job_id)
        curves.looked = now

    def _read_on(self, job_id: str, curves: _Curves) -> bool:
        """Take the lines that are not known yet; whether no more will come."""
        if curves.columns.last is None and (found := self._platform.jobs.metric_columns(job_id, NAMES)):
            curves.columns.begin(found)
            if found.complete:
                return True
        while True:
            page = self._platform.jobs.metrics(job_id, offset=len(curves.columns.steps), limit=_LINES_AT_ONCE)
            curves.columns.add(page.items)
            if len(page.items) < _LINES_AT_ONCE:
                return page.complete

    def _is_over_for_good(self, job_id: str) -> bool:
        """A job that failed is over too, but can be resumed."""
        return self._platform.jobs.get(job_id).state in (JobState.SUCCEEDED, JobState.CANCELLED)

    def _line(self, job_id: str, number: int) -> dict[str, Any] | None:
        items = self._platform.jobs.metrics(job_id, offset=number, limit=1).items
        return items[0] if items else None


def _answer(curves: _Curves, asked: Asked) -> bytes:
    points, first, last = asked
    begin, end = curves.columns.between(first, last)
    thinned = curves.columns.thinned(begin, end, points)
    return orjson.dumps(thinned | {"evaluations": curves.evaluations, "mark": curves.mark})
