"""The only place that changes the state of a service or of a replica: with its event, and only as the tables allow."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from quickalign.core.errors import ConflictError, NotFoundError
from quickalign.core.wire.jobs import Reason
from quickalign.core.wire.services import ServiceState
from quickalign.platform.config import Config
from quickalign.platform.db.service_tables import ReplicaRow, ServiceEventRow, ServiceRow
from quickalign.platform.executors.base import Attempt
from quickalign.platform.services.states import DEADLINES, OCCUPYING, ReplicaState, is_allowed, may_follow

_PRUNE_EVERY = 500


@dataclass(frozen=True, slots=True)
class SeenReplica:
    """A replica as an observation found it; what is concluded holds only while the row is still so."""

    id: str
    service: str
    revision: int
    state: ReplicaState
    attempt: int
    lease_token: str | None

    @classmethod
    def of(cls, row: ReplicaRow, service: str) -> "SeenReplica":
        """What `row` of the service with id `service` says now."""
        return cls(row.id, service, row.revision, ReplicaState(row.state), row.attempt, row.lease_token)

    @property
    def key(self) -> str:
        """The path of its folder below that of all services."""
        return key_of(self.service, self.id)

    @property
    def last_attempt(self) -> Attempt:
        """Its newest start, as the executor knows it."""
        return Attempt(self.key, self.attempt, self.lease_token or "")


def key_of(service_id: str, replica_id: str) -> str:
    """The path of a replica's folder below that of all services."""
    return f"{service_id}/replicas/{replica_id}"


def find(session: Session, name: str) -> ServiceRow:
    """The service of that name or id, locked until the transaction ends.

    Raises:
        NotFoundError: there is none.
    """
    wanted = or_(ServiceRow.id == name, ServiceRow.taken_name == name)
    row = session.scalar(select(ServiceRow).where(wanted).with_for_update())
    if row is None:
        raise missing(name)
    return row


def missing(name: str) -> NotFoundError:
    """The error for a service that is not there."""
    return NotFoundError(
        f"There is no service {name[:100]!r}.", "`quickalign services list` shows them all.", field="name", value=name
    )


def still(session: Session, number: int, version: int) -> ServiceRow | None:
    """The service as it was seen, locked; None where it has changed since, so that nothing may be concluded."""
    row = session.scalar(select(ServiceRow).where(ServiceRow.number == number).with_for_update())
    return row if row is not None and row.version == version else None


def still_replica(session: Session, seen: SeenReplica) -> ReplicaRow | None:
    """Likewise the replica that was seen."""
    row = session.scalar(select(ReplicaRow).where(ReplicaRow.id == seen.id).with_for_update())
    return row if row is not None and SeenReplica.of(row, seen.service) == seen else None


def move(
    session: Session,
    row: ServiceRow,
    to: ServiceState,
    config: Config,
    now: float,
    *,
    reason: Reason | None = None,
    message: str | None = None,
    **changes: Any,
) -> None:
    """Bring the service to the state `to`, with its event.

    Args:
        reason: why it is there; None clears it.
        message: the event's sentence; made from the reason when missing.
        changes: further columns to set.

    Raises:
        ConflictError: the table has no such move.
    """
    before = ServiceState(row.state)
    if not is_allowed(before, to):
        raise ConflictError(
            f"The service {row.name!r} is {before} and cannot become {to}.", field="state", value=str(before)
        )
    row.state = to
    row.reason = reason.model_dump(exclude_none=True) if reason else None
    change(row, now, **changes)
    sentence = message or (f"The service is {to}: {reason.message}" if reason else f"The service is {to}.")
    data: dict[str, Any] = {"from": str(before), "to": str(to)}
    if reason:
        data["reason"] = reason.code
    append(session, row, "state", sentence, data, config, now)


def change(row: ServiceRow, now: float, **changes: Any) -> None:
    """Set columns of the service, so that whoever saw it before concludes nothing from what it saw."""
    for name, value in changes.items():
        setattr(row, name, value)
    row.version += 1
    row.updated_at = now


def append(
    session: Session, row: ServiceRow, kind: str, message: str, data: dict[str, Any], config: Config, now: float
) -> None:
    """Add an event to a service."""
    row.events += 1
    event = ServiceEventRow(
        service=row.number, sequence=row.events, created_at=now, kind=kind, message=message, data=data
    )
    session.add(event)
    if row.events % _PRUNE_EVERY == 0:
        old = ServiceEventRow.sequence <= row.events - config.events_kept
        session.execute(delete(ServiceEventRow).where(ServiceEventRow.service == row.number, old))


def move_replica(
    row: ReplicaRow, to: ReplicaState, config: Config, now: float, *, reason: Reason | None = None, **changes: Any
) -> None:
    """Bring the replica to the state `to`.

    Raises:
        ConflictError: the table has no such move.
    """
    before = ReplicaState(row.state)
    if not may_follow(before, to):
        raise ConflictError(f"The replica {row.id} is {before} and cannot become {to}.", field="state", value=before)
    row.state = to
    row.reason = reason.model_dump(exclude_none=True) if reason else None
    limit = DEADLINES.get(to)
    row.deadline_at = now + getattr(config, limit) if limit else None
    if to not in OCCUPYING:
        row.device = row.pid = row.endpoint = row.answers = row.held_bytes = row.ready_at = None
        row.keeper = None
    for name, value in changes.items():
        setattr(row, name, value)
