"""The only place that changes a job's state: in one transaction with its event, and only as the table allows."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from quickalign.core.errors import ConflictError, NotFoundError
from quickalign.core.wire.jobs import JobState, Reason
from quickalign.platform.config import Config
from quickalign.platform.db.tables import AttemptRow, EventRow, JobRow
from quickalign.platform.jobs.states import DEADLINES, FINAL, OCCUPYING, is_allowed

_PRUNE_EVERY = 500


@dataclass(frozen=True, slots=True)
class Seen:
    """A job as an observation found it; what is concluded from it holds only while the row is still so."""

    id: str
    state: JobState
    attempt: int
    lease_token: str | None
    kind: str = "train"

    @classmethod
    def of(cls, row: JobRow) -> "Seen":
        """What `row` says now."""
        return cls(row.id, JobState(row.state), row.attempt, row.lease_token, row.kind)


def find(session: Session, job_id: str) -> JobRow:
    """The job's row, locked until the transaction ends.

    Raises:
        NotFoundError: there is none.
    """
    row = session.scalar(select(JobRow).where(JobRow.id == job_id).with_for_update())
    if row is None:
        raise missing(job_id)
    return row


def missing(job_id: str) -> NotFoundError:
    """The error for a job that is not there."""
    return NotFoundError(
        f"There is no job {job_id!r}.", "`quickalign jobs list` shows them all.", field="job_id", value=job_id
    )


def still(session: Session, seen: Seen) -> JobRow | None:
    """The row that was seen, locked; None where it has moved on since, so that nothing may be concluded."""
    row = session.scalar(select(JobRow).where(JobRow.id == seen.id).with_for_update())
    return row if row is not None and Seen.of(row) == seen else None


def move(
    session: Session,
    row: JobRow,
    to: JobState,
    config: Config,
    now: float,
    *,
    reason: Reason | None = None,
    message: str | None = None,
    **changes: Any,
) -> None:
    """Bring `row` to the state `to`, with its event.

    Args:
        reason: why it is there; None clears it.
        message: the event's sentence; made from the reason when missing.
        changes: further columns to set.

    Raises:
        ConflictError: the table has no such move.
    """
    before = JobState(row.state)
    if not is_allowed(before, to):
        raise ConflictError(f"The job {row.id} is {before} and cannot become {to}.", field="state", value=str(before))
    row.state = to
    limit = DEADLINES.get(to)
    row.deadline_at = now + getattr(config, limit) if limit else None
    row.reason = reason.model_dump(exclude_none=True) if reason else None
    if to not in OCCUPYING:
        row.device = None
        row.lease_token = None
        _end_attempt(session, row, before, now)
    if to in FINAL or before in FINAL:
        row.finished_at = now if to in FINAL else None
    for name, value in changes.items():
        setattr(row, name, value)
    sentence = message or (f"The job is {to}: {reason.message}" if reason else f"The job is {to}.")
    data: dict[str, Any] = {"from": str(before), "to": str(to), "attempt": row.attempt}
    if reason:
        data["reason"] = reason.code
    append(session, row, "state", sentence, data, config, now)


def append(
    session: Session, row: JobRow, kind: str, message: str, data: dict[str, Any], config: Config, now: float
) -> None:
    """Add an event to a job."""
    row.events += 1
    session.add(EventRow(job=row.number, sequence=row.events, created_at=now, kind=kind, message=message, data=data))
    if row.events % _PRUNE_EVERY == 0:
        old = EventRow.sequence <= row.events - config.events_kept
        session.execute(delete(EventRow).where(EventRow.job == row.number, old))


def _end_attempt(session: Session, row: JobRow, before: JobState, now: float) -> None:
    if before not in OCCUPYING or row.attempt == 0:
        return
    attempt = session.get(AttemptRow, (row.number, row.attempt))
    if attempt is not None and attempt.ended_at is None:
        attempt.ended_at = now
        attempt.outcome = {"state": row.state, **(row.reason or {})}
