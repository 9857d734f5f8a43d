"""The queue as it stands: positions and reasons, computed when somebody asks and kept until something changes."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from quickalign.core.wire.jobs import JobState, Reason, Resources
from quickalign.core.wire.system import QueueEntry
from quickalign.platform.db.service_tables import ReplicaRow, RevisionRow, ServiceRow
from quickalign.platform.db.tables import JobRow
from quickalign.platform.devices import Device
from quickalign.platform.jobs.states import OCCUPYING
from quickalign.platform.queue.admission import Load, Shared, Taken, Waiting, admit, loads
from quickalign.platform.services import states as replica_states

_KEPT_SECONDS = 1.0
_NEW = Reason(code="queued", message="It was queued just now.")
_STARTING = Reason(code="next", message="It is about to start.")


@dataclass(frozen=True, slots=True)
class QueueView:
    """Position (from 1) of each waiting job, in order, and why it waits where that is known.

    A thousand jobs may wait while somebody looks at one of them: what travels is made of those that are asked for.
    """

    positions: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, Reason] = field(default_factory=dict)
    jobs: Sequence[tuple[Waiting, int]] = ()

    def position(self, job_id: str) -> int | None:
        """Its place; None where it does not wait."""
        return self.positions.get(job_id)

    def reason(self, job_id: str) -> Reason | None:
        """Why it waits; None where it does not."""
        return self.reasons.get(job_id, _STARTING) if job_id in self.positions else None

    def entries(self, limit: int | None = None) -> tuple[QueueEntry, ...]:
        """The queue as it travels: all of it, or its first entries."""
        return tuple(
            QueueEntry(
                job=job.id,
                position=position,
                priority=priority,
                resources=Resources(gpus=job.gpus, memory_bytes=job.memory_bytes),
                reason=self.reasons.get(job.id, _STARTING),
            )
            for position, (job, priority) in enumerate(self.jobs[:limit], 1)
        )


def waiting(session: Session) -> list[tuple[Waiting, int]]:
    """Jobs in the queue in their order, with their priority."""
    columns = (JobRow.id, JobRow.gpus, JobRow.memory_bytes, JobRow.retry_at, JobRow.priority)
    order = (JobRow.priority.desc(), JobRow.number)
    rows = session.execute(select(*columns).where(JobRow.state == JobState.QUEUED).order_by(*order))
    return [(Waiting(row[0], row[1], row[2], row[3]), row[4]) for row in rows]


def newcomer(session: Session, row: JobRow) -> QueueView:
    """A view of one job that was just queued: what is before it is counted, not read."""
    before = or_(JobRow.priority > row.priority, and_(JobRow.priority == row.priority, JobRow.number < row.number))
    position = 1 + (session.scalar(select(func.count()).where(JobRow.state == JobState.QUEUED, before)) or 0)
    return QueueView({row.id: position}, {row.id: _NEW})


def current_loads(session: Session, devices: tuple[Device, ...]) -> list[Load]:
    """The devices with the jobs and the replicas that hold them."""
    columns = (JobRow.id, JobRow.device, JobRow.memory_bytes)
    rows = session.execute(select(*columns).where(JobRow.state.in_([str(state) for state in OCCUPYING])))
    return loads(devices, [Taken(*row) for row in rows], _replicas(session))


def _replicas(session: Session) -> list[Taken]:
    query = select(ServiceRow.name, ReplicaRow, RevisionRow).join(ServiceRow, ServiceRow.number == ReplicaRow.service)
    of_revision = and_(RevisionRow.service == ReplicaRow.service, RevisionRow.number == ReplicaRow.revision)
    occupying = [str(state) for state in replica_states.OCCUPYING]
    found = session.execute(query.join(RevisionRow, of_revision).where(ReplicaRow.state.in_(occupying)))
    return [taken_by(name, replica, revision) for name, replica, revision in found]


def taken_by(service: str, replica: ReplicaRow, revision: RevisionRow) -> Taken:
    """What a replica of the service with that name takes, or will take."""
    shared = None
    if revision.shared_key is not None:
        shared = Shared(revision.shared_key, revision.shared_base or "", revision.shared_bytes or 0)
    return Taken(service, replica.device, replica.memory_bytes, shared, replica.revision)


class Queue:
    """Answers questions about the queue from a view that `changed` makes stale."""

    def __init__(self, devices: tuple[Device, ...], clock: Callable[[], float], longest: float) -> None:
        self._devices, self._clock, self._longest = devices, clock, longest
        self._lock = threading.Lock()
        self._view = QueueView()
        self._made = float("-inf")

    def changed(self) -> None:
        """Something about the queue is different now."""
        self._made = float("-inf")

    def view(self, session: Session) -> QueueView:
        """The queue, at most a second old."""
        with self._lock:
            if time.monotonic() - self._made > _KEPT_SECONDS:
                made = time.monotonic()
                self._view = self._make(session)
                self._made = made
            return self._view

    def _make(self, session: Session) -> QueueView:
        jobs = waiting(session)
        taken = current_loads(session, self._devices)
        _, reasons = admit((job for job, _ in jobs), taken, self._clock(), self._longest)
        positions = {job.id: position for position, (job, _) in enumerate(jobs, 1)}
        return QueueView(positions, reasons, jobs)
