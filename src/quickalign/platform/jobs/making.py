"""Making a job of a request: checked, its inputs frozen, put into the queue in one transaction."""

from collections.abc import Callable, Sequence

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from quickalign.core.wire.jobs import Job, JobState, NewJob
from quickalign.platform import ids, keys
from quickalign.platform.config import Config
from quickalign.platform.crashpoints import reach
from quickalign.platform.db.engine import Database
from quickalign.platform.db.tables import InputRow, JobRow, KeyRow
from quickalign.platform.devices import Device
from quickalign.platform.files.blobs import Blobs
from quickalign.platform.inputs import Frozen, Inputs
from quickalign.platform.jobs import kinds, moves
from quickalign.platform.jobs.records import to_jobs
from quickalign.platform.jobs.references import Reference, find_references
from quickalign.platform.queue.view import Queue, newcomer


class Maker:
    """Makes jobs; the same request with the same idempotency key makes one."""

    def __init__(
        self,
        *,
        config: Config,
        database: Database,
        blobs: Blobs,
        inputs: Inputs,
        queue: Queue,
        devices: tuple[Device, ...],
        clock: Callable[[], float],
        changed: Callable[[], None],
    ) -> None:
        self._config, self._database, self._blobs, self._inputs = config, database, blobs, inputs
        self._queue, self._devices, self._clock, self._changed = queue, devices, clock, changed

    def make(self, request: NewJob, key: str | None, kept: dict[str, InputRow], cloned_from: str | None) -> Job:
        """Put the job into the queue; see `Jobs.create`. `kept` are inputs of the job it is cloned from."""
        fingerprint = keys.fingerprint(request, cloned_from)
        if key is not None and (earlier := self._earlier(key, fingerprint)):
            return earlier
        references = self._checked(request)
        needed = kinds.resources(request, references, self._devices)
        frozen = self._inputs.freeze(request.spec.model_copy(update=dict.fromkeys(kept)))
        try:
            with self._blobs.pinned(*(one.sha256 or "" for one in kept.values())):
                reach("job.create.frozen")
                row = JobRow(
                    id=ids.new("job"),
                    kind=request.kind,
                    name=request.name or kinds.made_up_name(request, references),
                    model=kinds.base_name(request, references),
                    state=str(JobState.QUEUED),
                    request=request.model_dump(mode="json"),
                    gpus=needed.gpus,
                    memory_bytes=needed.memory_bytes,
                    priority=request.priority,
                    labels=dict(request.metadata),
                    max_retries=request.max_retries,
                    attempt=0,
                    crashes=0,
                    crash_step=0,
                    events=0,
                    journal_offset=0,
                    created_at=self._clock(),
                    cloned_from=cloned_from,
                )
                inputs = (*frozen, *(reference.input for reference in references))
                if (earlier := self._insert(row, inputs, kept, key, fingerprint)) is not None:
                    return earlier
        finally:
            self._inputs.release(frozen)
        reach("job.create.done")
        with self._database.read() as session:
            made = to_jobs(session, [row], newcomer(session, row))[0]
        self._changed()
        return made

    def _checked(self, request: NewJob) -> tuple[Reference, ...]:
        kinds.check(request, self._inputs, self._config)
        if request.output is not None:
            self._inputs.check_output(request.output, writes_model=kinds.writes_model(request))
        with self._database.read() as session:
            return find_references(session, request.spec)

    def _insert(
        self, row: JobRow, inputs: Sequence[Frozen], kept: dict[str, InputRow], key: str | None, fingerprint: str
    ) -> Job | None:
        """Write the job and all that belongs to it; or give the one that the key made in the meantime."""
        now = row.created_at
        try:
            with self._database.write() as session:
                if key is not None:
                    session.add(KeyRow(key=key, fingerprint=fingerprint, made=row.id, created_at=now))
                session.add(row)
                session.flush()
                session.add_all(_input_row(row.number, one) for one in inputs)
                session.add_all(_input_row(row.number, old) for old in kept.values())
                moves.append(session, row, "state", "The job is queued.", {"to": "queued"}, self._config, now)
                for one in inputs:
                    if one.notice:
                        moves.append(session, row, "notice", one.notice, {"field": one.field}, self._config, now)
        except IntegrityError:
            if key is not None and (earlier := self._earlier(key, fingerprint)):
                return earlier
            raise
        return None

    def _earlier(self, key: str, fingerprint: str) -> Job | None:
        with self._database.read() as session:
            made = keys.made_by(session, key, fingerprint)
            return None if made is None else self._job(session, made)

    def _job(self, session: Session, job_id: str) -> Job:
        row = session.scalar(select(JobRow).where(JobRow.id == job_id))
        if row is None:  # deleted meanwhile
            raise moves.missing(job_id)
        return to_jobs(session, [row], self._queue.view(session))[0]


def _input_row(number: int, one: Frozen | InputRow) -> InputRow:
    return InputRow(
        job=number, field=one.field, source=one.source, name=one.name, sha256=one.sha256, blob=one.blob, file=one.file
    )
