"""What can be asked of jobs. A call changes rows and wakes the reconciler, which alone starts and ends processes."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from quickalign.core.errors import ConflictError, OptionError
from quickalign.core.wire.base import Page
from quickalign.core.wire.jobs import (
    Checkpoint,
    Event,
    Job,
    JobState,
    Kind,
    LogChunk,
    MetricsPage,
    NewJob,
    Reason,
    TrainRequest,
)
from quickalign.platform import ids
from quickalign.platform.config import Config
from quickalign.platform.crashpoints import reach
from quickalign.platform.db import paging
from quickalign.platform.db.engine import Database
from quickalign.platform.db.tables import AttemptRow, EventRow, InputRow, JobRow, KeyRow
from quickalign.platform.devices import Device
from quickalign.platform.executors.base import Executor
from quickalign.platform.files.service import Files
from quickalign.platform.home import Home
from quickalign.platform.inputs import Inputs
from quickalign.platform.jobs import kinds, metric_columns, moves, reading, references, requests
from quickalign.platform.jobs.labels import has_label
from quickalign.platform.jobs.making import Maker
from quickalign.platform.jobs.reading import MetricsKind
from quickalign.platform.jobs.records import to_event, to_jobs
from quickalign.platform.jobs.references import Reference, find_references
from quickalign.platform.queue.view import Queue, QueueView
from quickalign.platform.services.usage import Usage

S = JobState
_MAX_PAGE = 1000
_CANCELLED = Reason(code="user", message="It was cancelled.")
_PAUSED = Reason(code="user", message="It was paused; resume goes on from the last checkpoint.")
_PAUSING = Reason(code="user", message="It saves its state and pauses.")
_CANCELLING = Reason(code="user", message="It saves its state and stops.")
_RESUMING = Reason(code="user", message="It goes back to the queue.")


class Jobs:
    """The jobs of this home."""

    def __init__(
        self,
        *,
        home: Home,
        config: Config,
        database: Database,
        files: Files,
        inputs: Inputs,
        queue: Queue,
        executor: Executor,
        usage: Usage,
        devices: tuple[Device, ...],
        clock: Callable[[], float],
        wake: Callable[[], None],
    ) -> None:
        self._home, self._config, self._database = home, config, database
        self._files, self._queue = files, queue
        self._executor, self._usage = executor, usage
        self._clock, self._wake = clock, wake
        self._maker = Maker(
            config=config,
            database=database,
            blobs=files.blobs,
            inputs=inputs,
            queue=queue,
            devices=devices,
            clock=clock,
            changed=self._changed,
        )

    def create(self, request: NewJob, *, idempotency_key: str | None = None) -> Job:
        """Put a new job into the queue.

        With an `idempotency_key` the same request makes one job, however often it is sent.

        Raises:
            OptionError, ModelError, CapacityError, AccessError, StorageError, NotFoundError: it cannot be run here.
            ConflictError: the key was used for another request.
        """
        return self._maker.make(request, idempotency_key, {}, None)

    def get(self, job_id: str) -> Job:
        """One job.

        Raises:
            NotFoundError: there is none.
        """
        with self._database.read() as session:
            return self._job(session, _row(session, job_id))

    def list(
        self,
        *,
        states: Sequence[JobState | str] = (),
        kinds: Sequence[Kind] = (),
        model: str | None = None,
        text: str | None = None,
        metadata: dict[str, str] | None = None,
        after: str | None = None,
        limit: int = 20,
    ) -> Page[Job]:
        """Jobs, newest first.

        Args:
            states: only those in one of these.
            kinds: only those of one of these.
            model: only those of this model.
            text: only those whose name, id or model contains it.
            metadata: only those with all of these labels.
            after: the `next` of the page before, or the id of its last job.
        """
        wanted = max(1, min(limit, _MAX_PAGE))
        query = select(JobRow).order_by(JobRow.number.desc()).limit(wanted + 1)
        if states:
            query = query.where(JobRow.state.in_([_state(state) for state in states]))
        if kinds:
            query = query.where(JobRow.kind.in_(kinds))
        if model is not None:
            query = query.where(JobRow.model == model)
        if text:
            columns = (JobRow.name, JobRow.id, JobRow.model)
            query = query.where(or_(*(column.icontains(text, autoescape=True) for column in columns)))
        for key, value in (metadata or {}).items():
            query = query.where(has_label(self._database.kind, key, value))
        with self._database.read() as session:
            if after is not None:
                query = query.where(JobRow.number < paging.place(session, after, _row))
            rows = session.scalars(query).all()
            items = to_jobs(session, rows[:wanted], self._view(session, rows[:wanted]))
        return Page(items=items, next=paging.following(rows[wanted - 1]) if len(rows) > wanted else None)

    def cancel(self, job_id: str) -> Job:
        """Stop a job for good; one that runs saves a checkpoint first. Asking twice changes nothing.

        Raises:
            NotFoundError; ConflictError: it is over.
        """
        return self._change(job_id, _cancel_target, (S.CANCELLING, S.CANCELLED), "cancelled")

    def pause(self, job_id: str) -> Job:
        """Stop a job so that it can go on; one that runs saves a checkpoint first. Asking twice changes nothing.

        Raises:
            NotFoundError; ConflictError: it is over, or being cancelled.
        """
        return self._change(job_id, _pause_target, (S.PAUSING, S.PAUSED), "paused")

    def resume(self, job_id: str) -> Job:
        """Put a paused or failed job back into the queue; it goes on from its last checkpoint.

        Raises:
            NotFoundError; ConflictError: it is neither.
        """
        return self._change(job_id, _resume_target, (S.RESUMING,), "resumed")

    def clone(self, job_id: str, changes: dict[str, Any] | None = None, *, idempotency_key: str | None = None) -> Job:
        """A new job with the same request and the very same inputs, but for `changes` (see `requests.changed`).

        Raises:
            NotFoundError; as `create`.
        """
        given = changes or {}
        with self._database.read() as session:
            row = _row(session, job_id)
            request = requests.changed(kinds.parse(row.request), given)
            inputs = {one.field: one for one in session.scalars(select(InputRow).where(InputRow.job == row.number))}
        asked = given.get("spec") or {}
        kept = {field: one for field, one in inputs.items() if field not in asked and one.blob}
        return self._maker.make(request, idempotency_key, kept, job_id)

    def references(self, spec: TrainRequest) -> tuple[Reference, ...]:
        """The jobs that `spec` names as models.

        Raises:
            NotFoundError: there is no such job. ConflictError: it has no model.
        """
        with self._database.read() as session:
            return find_references(session, spec)

    def copies(self, job_id: str, spec: TrainRequest) -> dict[str, tuple[Path, str]]:
        """The job's own copies of the inputs that `spec` names as the job did, each with its name.

        Raises:
            NotFoundError: there is no such job.
        """
        with self._database.read() as session:
            row = _row(session, job_id)
            named = kinds.parse(row.request).spec
            inputs = session.scalars(select(InputRow).where(InputRow.job == row.number, InputRow.blob)).all()
        return {
            one.field: (self._files.blobs.path(one.sha256), one.name)
            for one in inputs
            if one.sha256 and getattr(spec, one.field, None) == getattr(named, one.field, None)
        }

    def delete(self, job_id: str) -> None:
        """Delete a job that is over, with its folder.

        Raises:
            NotFoundError; ConflictError: it is not over, or a service serves it.
        """
        with self._usage.lock:
            self._delete(job_id)

    def _delete(self, job_id: str) -> None:
        aside: Path | None = None
        with self._database.write() as session:
            row = moves.find(session, job_id)  # locked: nobody resumes it meanwhile
            self._usage.check_unused(session, job_id)
            references.check_unused(session, job_id)
            if not JobState(row.state).is_final:
                raise ConflictError(
                    f"The job {job_id} is {row.state}.", "Cancel it first.", field="state", value=row.state
                )
            digests = session.scalars(select(InputRow.sha256).where(InputRow.job == row.number, InputRow.blob)).all()
            folder = self._home.job(job_id)
            if folder.exists():
                aside = self._home.set_aside(folder, f"{job_id}-{ids.new('x')}")
            reach("job.delete.moved")
            session.execute(delete(KeyRow).where(KeyRow.made == job_id))
            for table in (EventRow, AttemptRow, InputRow):
                session.execute(delete(table).where(table.job == row.number))
            session.execute(delete(JobRow).where(JobRow.number == row.number))
        reach("job.delete.rows")
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)
        self._files.collect(*(digest for digest in digests if digest))

    def events(self, job_id: str, *, after: int = 0, limit: int = 100) -> Page[Event]:
        """Events with a sequence above `after`, in order; `next` is the last one's, as text."""
        wanted = max(1, min(limit, _MAX_PAGE))
        with self._database.read() as session:
            number = _row(session, job_id).number
            query = select(EventRow).where(EventRow.job == number, EventRow.sequence > after)
            rows = session.scalars(query.order_by(EventRow.sequence).limit(wanted)).all()
        return Page(items=tuple(map(to_event, rows)), next=str(rows[-1].sequence if rows else after))

    def logs(self, job_id: str, *, offset: int = 0, limit: int = 65536) -> LogChunk:
        """A piece of what the job's processes said, over all attempts."""
        over = self._is_over(job_id)
        return reading.read_log(self._executor.logs(job_id), offset, limit, over=over)

    def log_size(self, job_id: str) -> int:
        """The bytes of a job's log as it is now."""
        self._is_over(job_id)
        return sum(file.stat().st_size for file in self._executor.logs(job_id))

    def metrics(self, job_id: str, *, kind: MetricsKind = "steps", offset: int = 0, limit: int = 1000) -> MetricsPage:
        """Metrics as the run wrote them; `offset` counts lines."""
        over = self._is_over(job_id)
        return reading.read_metrics(self._home.output(job_id), kind, offset, limit, over=over)

    def metric_columns(self, job_id: str, names: Sequence[str]) -> metric_columns.MetricColumns | None:
        """The lines of a long run's metrics so far, as columns; None where only `metrics` can read them."""
        over = self._is_over(job_id)
        return metric_columns.read_columns(self._home.output(job_id), names, over=over)

    def checkpoints(self, job_id: str) -> tuple[Checkpoint, ...]:
        """Checkpoints on disk, oldest first."""
        self._is_over(job_id)
        return reading.read_checkpoints(self._home.output(job_id))

    def artifact(self, job_id: str, name: str) -> Path:
        """A file of the run's folder by its path inside.

        Raises:
            NotFoundError: there is none.
        """
        self._is_over(job_id)
        return reading.artifact(self._home.output(job_id), name)

    def count(self, *, kinds: Sequence[Kind] = ()) -> dict[str, int]:
        """The number of jobs by state, of all kinds or of some; every state is named."""
        query = select(JobRow.state, func.count()).group_by(JobRow.state)
        with self._database.read() as session:
            found = session.execute(query.where(JobRow.kind.in_(kinds)) if kinds else query)
            return {str(state): 0 for state in JobState} | {str(state): int(count) for state, count in found}

    def _change(
        self,
        job_id: str,
        target: Callable[[JobState], tuple[JobState, Reason] | None],
        done: tuple[JobState, ...],
        word: str,
    ) -> Job:
        with self._database.write() as session:
            row = moves.find(session, job_id)
            state = JobState(row.state)
            if state not in done:
                found = target(state)
                if found is None:
                    raise ConflictError(
                        f"The job {job_id} is {state} and cannot be {word}.",
                        "`quickalign jobs show` says how it stands.",
                        field="state",
                        value=str(state),
                    )
                to, reason = found
                moves.move(session, row, to, self._config, self._clock(), reason=reason, retry_at=None)
        reach(f"job.{word}")
        self._changed()
        return self.get(job_id)

    def _is_over(self, job_id: str) -> bool:
        with self._database.read() as session:
            state = session.scalar(select(JobRow.state).where(JobRow.id == job_id))
        if state is None:
            raise moves.missing(job_id)
        return JobState(state).is_final

    def _job(self, session: Session, row: JobRow) -> Job:
        return to_jobs(session, [row], self._view(session, [row]))[0]

    def _view(self, session: Session, rows: Sequence[JobRow]) -> QueueView:
        """The queue where one of these waits in it; it need not be looked at for others."""
        waits = any(row.state == S.QUEUED for row in rows)
        return self._queue.view(session) if waits else QueueView()

    def _changed(self) -> None:
        self._queue.changed()
        self._wake()


def _row(session: Session, job_id: str) -> JobRow:
    row = session.scalar(select(JobRow).where(JobRow.id == job_id))
    if row is None:
        raise moves.missing(job_id)
    return row


def _state(state: JobState | str) -> str:
    try:
        return str(JobState(state))
    except ValueError:
        raise OptionError(
            f"There is no state {state!r}.",
            f"Use one of {', '.join(JobState)}.",
            field="state",
            value=state,
        ) from None


def _cancel_target(state: JobState) -> tuple[JobState, Reason] | None:
    if state in (S.QUEUED, S.PAUSED, S.RESUMING):
        return S.CANCELLED, _CANCELLED
    return (S.CANCELLING, _CANCELLING) if state in (S.STARTING, S.RUNNING, S.PAUSING) else None


def _pause_target(state: JobState) -> tuple[JobState, Reason] | None:
    if state in (S.QUEUED, S.RESUMING):
        return S.PAUSED, _PAUSED
    return (S.PAUSING, _PAUSING) if state in (S.STARTING, S.RUNNING) else None


def _resume_target(state: JobState) -> tuple[JobState, Reason] | None:
    return (S.RESUMING, _RESUMING) if state in (S.PAUSED, S.FAILED) else None
