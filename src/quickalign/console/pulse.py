"""How a job stands, seen once for all the pages that follow it.

A page asks every two seconds. Fifty pages of one job must not make the server look fifty times, and where nothing
changed they are told so in an empty answer.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from quickalign.console.series import FRESH_SECONDS, SeriesStore
from quickalign.core.wire.jobs import Job
from quickalign.platform import Platform

_EVENTS_AT_ONCE = 500
_KEPT_JOBS = 256
_KEPT_HEADS = 8
_RAN_SECONDS = 10.0
"""How often the time that a job has run is written anew where nothing else happens."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """A job as its pages show it. `event` is the number of its last event."""

    job: Job
    event: int
    curves: str
    lines: int
    log_size: int
    head: str
    """Another text whenever the head of the page must be rendered again."""

    @property
    def mark(self) -> str:
        """Another text whenever anything on the page is different."""
        return f"{self.head}-{self.event}-{self.curves}-{self.log_size}"


@dataclass(slots=True)
class _Followed:
    pulse: Pulse | None = None
    looked: float = float("-inf")
    heads: OrderedDict[tuple[str, ...], str] = field(default_factory=OrderedDict)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Pulses:
    """The pulses of the jobs that are followed."""

    def __init__(self, platform: Platform, series: SeriesStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._platform, self._series, self._clock = platform, series, clock
        self._lock = threading.Lock()
        self._followed: OrderedDict[str, _Followed] = OrderedDict()

    def head(self, job: Job, event: int) -> str:
        """The mark of the head that shows this job after this event."""
        ran = self._clock() // _RAN_SECONDS if job.running_since else 0
        return hashlib.sha256(f"{job.model_dump_json()}{event} {ran}".encode()).hexdigest()[:16]

    def read(self, job_id: str) -> Pulse:
        """How the job stands, or stood a second ago.

        Raises:
            NotFoundError: there is none.
        """
        followed = self._of(job_id)
        with followed.lock:
            now = self._clock()
            if followed.pulse is None or now - followed.looked >= FRESH_SECONDS:
                followed.pulse = self._look(job_id, followed.pulse.event if followed.pulse else 0)
                followed.looked = now
            return followed.pulse

    def rendered_head(self, pulse: Pulse, reader: tuple[str, str], render: Callable[[], str]) -> str:
        """The head of a job's page, rendered once for all pages of a reader.

        Args:
            reader: what heads differ by besides the job: the language, and the mark of the reader's changes.
            render: makes the head.
        """
        followed, key = self._of(pulse.job.id), (pulse.head, *reader)
        with followed.lock:
            if (head := followed.heads.get(key)) is None:
                head = followed.heads[key] = render()
                while len(followed.heads) > _KEPT_HEADS:
                    followed.heads.popitem(last=False)
            return head

    def _of(self, job_id: str) -> _Followed:
        with self._lock:
            followed = self._followed.setdefault(job_id, _Followed())
            self._followed.move_to_end(job_id)
            while len(self._followed) > _KEPT_JOBS:
                self._followed.popitem(last=False)
            return followed

    def _look(self, job_id: str, event: int) -> Pulse:
        jobs = self._platform.jobs
        job = jobs.get(job_id)
        while events := jobs.events(job_id, after=event, limit=_EVENTS_AT_ONCE).items:
            event = events[-1].sequence
        mark, lines = self._series.state(job_id)
        return Pulse(job, event, mark, lines, jobs.log_size(job_id), self.head(job, event))
