"""From rows to what travels."""

from collections.abc import Iterable, Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from quickalign.core.wire.jobs import Event, Job, JobState, Progress, Reason, Resources
from quickalign.platform.db.tables import AttemptRow, EventRow, InputRow, JobRow
from quickalign.platform.jobs import kinds
from quickalign.platform.queue.view import QueueView


def to_jobs(session: Session, rows: Sequence[JobRow], queue: QueueView) -> tuple[Job, ...]:
    """The jobs of `rows`, in their order."""
    inputs: dict[int, dict[str, str]] = {row.number: {} for row in rows}
    query = select(InputRow.job, InputRow.field, InputRow.sha256).where(InputRow.job.in_(inputs))
    for job, field, sha256 in session.execute(query):
        if sha256:
            inputs[job][field] = sha256
    ran = _ran(session, inputs)
    return tuple(_job(row, inputs[row.number], queue).model_copy(update=ran.get(row.number, {})) for row in rows)


def _ran(session: Session, jobs: Iterable[int]) -> dict[int, dict[str, float | None]]:
    """For how long each job's starts ran, and since when one runs."""
    ended = func.coalesce(func.sum(AttemptRow.ended_at - AttemptRow.started_at), 0.0)
    running = func.max(AttemptRow.started_at).filter(AttemptRow.ended_at.is_(None))
    query = select(AttemptRow.job, ended, running).where(AttemptRow.job.in_(jobs)).group_by(AttemptRow.job)
    return {job: {"ran_seconds": seconds, "running_since": since} for job, seconds, since in session.execute(query)}


def _job(row: JobRow, inputs: dict[str, str], queue: QueueView) -> Job:
    request = kinds.parse(row.request)
    queued = row.state == JobState.QUEUED
    reason = Reason.model_validate(row.reason) if row.reason else None
    return Job(
        id=row.id,
        kind=request.kind,
        name=row.name,
        model=row.model,
        state=JobState(row.state),
        reason=(queue.reason(row.id) or reason) if queued else reason,
        spec=request.spec,
        inputs=inputs,
        output=request.output,
        resources=Resources(gpus=row.gpus, memory_bytes=row.memory_bytes, workers=kinds.workers(request)),
        priority=row.priority,
        metadata=dict(row.labels),
        max_retries=row.max_retries,
        attempt=row.attempt,
        progress=Progress.model_validate(row.progress) if row.progress else None,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        queue_position=queue.position(row.id) if queued else None,
        model_path=row.model_path,
        adapter_sha256=row.adapter_sha256,
        results=row.results,
        cloned_from=row.cloned_from,
    )


def to_event(row: EventRow) -> Event:
    """The event of `row`."""
    return Event(
        sequence=row.sequence, created_at=row.created_at, kind=row.kind, message=row.message, data=dict(row.data)
    )
