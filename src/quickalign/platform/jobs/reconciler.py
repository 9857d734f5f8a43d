"""One loop compares what the rows want with what is observed, and makes one move at a time.

Every move is a transaction that holds only while the row is as it was observed and this server is the one that leads.
An action outside the database (a process is started, a signal sent) always follows the row that announces it, so who
comes after a crash finds either nothing done and nothing said, or something said that can be looked for.
"""

import logging
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import select

from quickalign.core.errors import QuickalignError, UnavailableError
from quickalign.core.wire.jobs import JobState, Reason, Resources
from quickalign.platform.config import Config
from quickalign.platform.crashpoints import reach
from quickalign.platform.db.engine import Database
from quickalign.platform.db.tables import AttemptRow, InputRow, JobRow
from quickalign.platform.devices import Device
from quickalign.platform.executors.base import Attempt, Executor, Observation, Phase, Recovery
from quickalign.platform.home import Home
from quickalign.platform.jobs import kinds, moves, outcome, progress, reading
from quickalign.platform.jobs.moves import Seen
from quickalign.platform.jobs.starting import Starter
from quickalign.platform.leadership import Acting, Leadership, NotLeadingError, Sole
from quickalign.platform.loop import Loop
from quickalign.platform.queue.admission import Place, admit, has_free_slot
from quickalign.platform.queue.view import Queue, current_loads, waiting

S = JobState
_LOG = logging.getLogger(__name__)
_ACTIVE = tuple(str(state) for state in (S.STARTING, S.RUNNING, S.PAUSING, S.CANCELLING, S.RESUMING))
_SILENT_SECONDS = 120.0
_STALLED_SECONDS = 60.0
_PENDING = "The cluster has no room for it yet."


class Reconciler:
    """Moves jobs along. `start` runs it in a thread; `tick` is one round, for tests and for nobody else at once."""

    def __init__(
        self,
        *,
        home: Home,
        config: Config,
        database: Database,
        executor: Executor,
        starter: Starter,
        queue: Queue,
        devices: tuple[Device, ...],
        clock: Callable[[], float],
        chores: Callable[[], None],
        leadership: Leadership | None = None,
    ) -> None:
        self._home, self._config, self._database = home, config, database
        self._leadership: Leadership = leadership or Sole()
        self._acting = Acting(database, self._leadership)
        self._term: int | None = None
        self._executor, self._starter, self._queue = executor, starter, queue
        self._devices, self._clock = devices, clock
        self._loop = Loop("reconciler", self.tick, chores)
        self._recovered = False
        self._looked_at = time.monotonic()
        self._changes, self._settled = 0, -1
        self._silent: set[str] = set()

    def wake(self) -> None:
        """Something may be done; look now rather than in a second."""
        self._changes += 1
        self._loop.wake()

    def start(self) -> None:
        """Run rounds in a thread until `stop`."""
        self._loop.start()

    def stop(self) -> None:
        """End the thread; jobs go on running and are found again by the next server."""
        self._loop.stop()

    @property
    def is_running(self) -> bool:
        """Whether the thread lives."""
        return self._loop.is_running

    def check(self) -> None:
        """Check that rounds succeed.

        Raises:
            UnavailableError: none has for a long time.
        """
        quiet = time.monotonic() - self._looked_at
        if quiet > _STALLED_SECONDS:
            raise UnavailableError(
                f"The server has not been able to look after its jobs for {quiet:.0f} seconds.", "Its log says why."
            )

    def tick(self) -> None:
        """One round, where this server leads: look at every job that may have a process, then start those that fit."""
        if self._leads():
            try:
                self._round()
            except NotLeadingError as error:
                _LOG.info("a round was given up: %s", error)
        self._looked_at = time.monotonic()

    def _leads(self) -> bool:
        """Whether this server leads. What it knew is forgotten when it begins to, for others may have acted since."""
        term = self._leadership.keep()
        if term != self._term:
            self._term, self._recovered, self._settled = term, False, -1
            self._silent.clear()
        return term is not None

    def _round(self) -> None:
        for seen in self._active():
            if self._leadership.term() != self._term:
                return
            try:
                self._reconcile(seen)
            except QuickalignError:
                raise
            except Exception:  # one job that cannot be handled must not stop all others
                _LOG.exception("the job %s could not be looked at", seen.id)
        self._recovered = True
        self._admit()

    def _active(self) -> list[Seen]:
        columns = (JobRow.id, JobRow.state, JobRow.attempt, JobRow.lease_token, JobRow.kind)
        with self._database.read() as session:
            rows = session.execute(select(*columns).where(JobRow.state.in_(_ACTIVE)).order_by(JobRow.number))
            return [Seen(row[0], JobState(row[1]), row[2], row[3], row[4]) for row in rows]

    def _reconcile(self, seen: Seen) -> None:
        if seen.state is S.RESUMING:
            self._requeue_resumed(seen)
            return
        attempt = Attempt(seen.id, seen.attempt, seen.lease_token or "")
        observed = self._executor.observe(attempt)
        self._take_news(seen)
        match observed.phase:
            case Phase.UNKNOWN:
                return
            case Phase.WAITING:
                self._wait(seen, attempt)
            case Phase.PENDING:
                self._pend(seen, attempt, observed)
            case Phase.RUNNING:
                self._running(seen, attempt, observed)
            case Phase.NEVER_RAN:
                self._never_ran(seen)
            case Phase.FINISHED:
                self._finished(seen, observed)
            case Phase.VANISHED:
                self._crashed(seen, observed)

    def _requeue_resumed(self, seen: Seen) -> None:
        step = reading.last_step(self._home.output(seen.id))
        where = outcome.place(seen.kind, step)
        self._move(seen, S.QUEUED, message=f"The job is queued again and goes on from {where}.", crashes=0)

    def _wait(self, seen: Seen, attempt: Attempt) -> None:
        """Nobody has claimed the attempt. One of another server's life, or late, is settled now."""
        late = self._is_late(seen)
        if self._recovered and seen.state is S.STARTING and not late:
            return
        answer = self._executor.recover(attempt)
        if answer is Recovery.REQUEUE and late:
            self._crashed(seen, Observation(Phase.WAITING, message="It did not begin in time."))
        elif answer is Recovery.REQUEUE:
            self._never_ran(seen)
        elif answer is Recovery.FAIL:
            self._lost(seen)

    def _pend(self, seen: Seen, attempt: Attempt, observed: Observation) -> None:
        """The cluster has the attempt but no room for it: say so, and give it time from now."""
        if seen.state is not S.STARTING:
            if self._executor.recover(attempt) is not Recovery.REATTACH:
                self._never_ran(seen)
            return
        reason = Reason(code="waiting_for_cluster", message=observed.message or _PENDING).model_dump(exclude_none=True)
        limit = self._config.start_seconds
        with self._database.read() as session:
            row = session.execute(select(JobRow.reason, JobRow.deadline_at).where(JobRow.id == seen.id)).one_or_none()
        if row is None or (row[0] == reason and (row[1] or 0.0) - self._clock() > limit / 2):
            return
        with self._database.write() as session:
            if current := moves.still(session, seen):
                current.reason, current.deadline_at = reason, self._clock() + limit

    def _running(self, seen: Seen, attempt: Attempt, observed: Observation) -> None:
        if seen.state is S.STARTING:
            self._move(seen, S.RUNNING)
        elif seen.state in (S.PAUSING, S.CANCELLING):
            self._executor.cancel(attempt, force=self._is_late(seen))
            reach("reconciler.signalled")
        elif (observed.silent_seconds or 0) > _SILENT_SECONDS:
            self._tell_silence(seen, observed)

    def _finished(self, seen: Seen, observed: Observation) -> None:
        code = observed.exit_code
        if code == 0:
            self._succeeded(seen)
        elif seen.state is S.CANCELLING:
            self._stopped(seen)
        elif outcome.is_failure(code):
            assert code is not None
            reason = outcome.failure(code, observed.message, self._output(seen), self._executor.logs(seen.id))
            self._move(seen, S.FAILED, reason=reason, **outcome.found(self._output(seen)))
        elif seen.state is S.PAUSING:
            self._stopped(seen)
        else:
            self._crashed(seen, observed)

    def _succeeded(self, seen: Seen) -> None:
        found = outcome.success(seen.kind, self._output(seen))
        if found is None:
            reason = Reason(code="failed", message="It ended well but left no result.json.", exit_code=0)
            self._move(seen, S.CANCELLED if seen.state is S.CANCELLING else S.FAILED, reason=reason)
            return
        message, columns = found
        self._move(seen, S.SUCCEEDED, message=message, **columns)

    def _stopped(self, seen: Seen) -> None:
        step = reading.last_step(self._output(seen))
        kept = outcome.kept(seen.kind, step)
        if seen.state is S.CANCELLING:
            reason = Reason(code="user", message=f"It was cancelled; {kept}.")
            self._move(seen, S.CANCELLED, reason=reason)
        else:
            self._move(seen, S.PAUSED, reason=Reason(code="user", message=f"It was paused; {kept}."))

    def _never_ran(self, seen: Seen) -> None:
        if seen.state in (S.PAUSING, S.CANCELLING):
            self._stopped(seen)
        else:
            self._move(seen, S.QUEUED, message="It was not started after all and is queued again.")

    def _lost(self, seen: Seen) -> None:
        if seen.state in (S.PAUSING, S.CANCELLING):
            self._stopped(seen)
            return
        folder = self._home.attempt(seen.id, seen.attempt)
        reason = Reason(code="failed", message=f"What this attempt wrote into {folder} is gone or not its own.")
        self._move(seen, S.FAILED, reason=reason)

    def _crashed(self, seen: Seen, observed: Observation) -> None:
        """Back to the queue, later each time; given up after too many crashes without a new checkpoint."""
        if seen.state in (S.PAUSING, S.CANCELLING):
            self._stopped(seen)
            return
        reason = outcome.crash(observed.exit_code, observed.message, self._executor.logs(seen.id))
        step = reading.last_step(self._output(seen))
        now = self._clock()
        reach("reconciler.crash_seen")
        with self._acting.write() as session:
            row = moves.still(session, seen)
            if row is None:
                return
            crashes = 1 if step > row.crash_step else row.crashes + 1
            changes: dict[str, Any] = {"crashes": crashes, "crash_step": step}
            if crashes > row.max_retries:
                message = f"{reason.message} It was restarted {row.max_retries} times without getting further."
                last = reason.model_copy(update={"message": message})
                moves.move(session, row, S.FAILED, self._config, now, reason=last, **changes)
            else:
                wait = min(self._config.retry_seconds * 2.0 ** (crashes - 1), self._config.retry_seconds_max)
                goes_on = f"It goes on from {outcome.place(seen.kind, step)} in {wait:.0f} seconds."
                message = f"{reason.message} {goes_on}"
                moves.move(
                    session, row, S.QUEUED, self._config, now,
                    reason=reason, message=message, retry_at=now + wait, **changes,
                )  # fmt: skip
        reach("reconciler.crash_done")
        self._changed()

    def _admit(self) -> None:
        changes = self._changes
        if changes == self._settled:
            return
        now = self._clock()
        with self._database.read() as session:
            found = current_loads(session, self._devices)
            if not has_free_slot(found):
                self._settled = changes
                return
            longest = self._config.retry_seconds_max
            places, reasons = admit((job for job, _ in waiting(session)), found, now, longest)
        # What backs off gets ready without anybody's word; everything else that could let a job start wakes the loop.
        if not places and not any(reason.code == "backing_off" for reason in reasons.values()):
            self._settled = changes
        for place in places:
            self._start(place)

    def _start(self, place: Place) -> None:
        """Announce the attempt, then begin it."""
        now = self._clock()
        token = secrets.token_hex(16)
        with self._acting.write() as session:
            row = session.scalar(select(JobRow).where(JobRow.id == place.id).with_for_update())
            if row is None or row.state != S.QUEUED:
                return
            number = row.attempt + 1
            changes: dict[str, Any] = {
                "attempt": number,
                "lease_token": token,
                "device": place.device,
                "retry_at": None,
            }
            changes["started_at"] = row.started_at or now
            moves.move(session, row, S.STARTING, self._config, now, message=f"Attempt {number} starts.", **changes)
            session.add(
                AttemptRow(job=row.number, attempt=number, lease_token=token, device=place.device, started_at=now)
            )
            request, taken = kinds.parse(row.request), Resources(gpus=row.gpus, memory_bytes=row.memory_bytes)
            inputs = list(session.scalars(select(InputRow).where(InputRow.job == row.number)))
        reach("reconciler.announced")
        self._queue.changed()
        attempt = Attempt(place.id, number, token)
        try:
            self._starter.start(attempt, request, inputs, place.device, taken)
        except QuickalignError as error:
            self._not_started(Seen(place.id, S.STARTING, number, token, request.kind), attempt, error)
        reach("reconciler.started")

    def _not_started(self, seen: Seen, attempt: Attempt, error: QuickalignError) -> None:
        _LOG.warning("the job %s could not be started: %s", seen.id, error)
        if self._executor.recover(attempt) is Recovery.REQUEUE:
            self._crashed(seen, Observation(Phase.VANISHED, exit_code=error.exit_code, message=str(error)))

    def _take_news(self, seen: Seen) -> None:
        output = self._output(seen)
        with self._database.read() as session:
            row = session.execute(
                select(JobRow.journal_offset, JobRow.progress).where(JobRow.id == seen.id)
            ).one_or_none()
        if row is None or not progress.has_news(output, row[0], row[1]):
            return
        more = True
        while more:
            with self._acting.write() as session:
                current = moves.still(session, seen)
                if current is None:
                    return
                more = progress.take_over(session, current, output, self._config, self._clock())
            reach("reconciler.news")

    def _tell_silence(self, seen: Seen, observed: Observation) -> None:
        if f"{seen.id}/{seen.attempt}" in self._silent:
            return
        self._silent.add(f"{seen.id}/{seen.attempt}")
        message = f"Its wrapper gave no sign for {observed.silent_seconds:.0f} seconds, but lives."
        with self._acting.write() as session:
            if row := moves.still(session, seen):
                moves.append(session, row, "warning", message, {}, self._config, self._clock())

    def _move(
        self, seen: Seen, to: JobState, *, reason: Reason | None = None, message: str | None = None, **changes: object
    ) -> None:
        reach(f"reconciler.before_{to}")
        with self._acting.write() as session:
            row = moves.still(session, seen)
            if row is None:
                return
            moves.move(session, row, to, self._config, self._clock(), reason=reason, message=message, **changes)
        reach(f"reconciler.after_{to}")
        self._changed()

    def _is_late(self, seen: Seen) -> bool:
        with self._database.read() as session:
            deadline = session.scalar(select(JobRow.deadline_at).where(JobRow.id == seen.id))
        return deadline is not None and self._clock() > deadline

    def _output(self, seen: Seen) -> Path:
        return self._home.output(seen.id)

    def _changed(self) -> None:
        self._changes += 1
        self._queue.changed()
        self._loop.wake()
