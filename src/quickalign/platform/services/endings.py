"""How a replica ends: asked to, killed, or by itself; and what follows."""

from collections.abc import Callable

from quickalign.core.program import AWAY
from quickalign.core.wire.jobs import Reason
from quickalign.core.wire.services import ServiceState
from quickalign.platform.config import Config
from quickalign.platform.crashpoints import reach
from quickalign.platform.db.service_tables import ReplicaRow
from quickalign.platform.executors.base import Executor, Observation
from quickalign.platform.home import Home
from quickalign.platform.jobs import outcome
from quickalign.platform.services import keepers, removal
from quickalign.platform.services.ledger import Entry, Ledger
from quickalign.platform.services.moves import SeenReplica
from quickalign.platform.services.removal import Freed
from quickalign.platform.services.routes import Routes
from quickalign.platform.services.states import ReplicaState

R = ReplicaState
SETTLE_SECONDS, SHARED_SETTLE_SECONDS = 0.3, 1.5
"""How long a replica that is stopped may still be sent requests by those who chose it just before: by this server, and
by others, which hear of it later."""
_KILL_SECONDS = 10.0
"""How long after its deadline a replica that was asked to end is killed."""


class Endings:
    """Ends replicas, and proves that they ended."""

    def __init__(
        self,
        *,
        home: Home,
        config: Config,
        executor: Executor,
        ledger: Ledger,
        routes: Routes,
        clock: Callable[[], float],
        settle_seconds: float = SETTLE_SECONDS,
    ) -> None:
        self._home, self._config, self._executor = home, config, executor
        self._ledger, self._routes, self._clock = ledger, routes, clock
        self._settle_seconds = settle_seconds

    def end(self, seen: SeenReplica, row: ReplicaRow) -> None:
        """Ask the process to end when nothing is open on it, or when that lasts too long; then kill it."""
        now, deadline = self._clock(), row.deadline_at or 0.0
        settled = now - (deadline - self._config.service_stop_seconds) >= self._settle_seconds
        if now > deadline + _KILL_SECONDS:
            self._executor.cancel(seen.last_attempt, force=True)
        elif now > deadline or (settled and self._routes.open_requests(seen.id) == 0):
            self._executor.cancel(seen.last_attempt, force=False)
        reach("services.signalled")

    def gone(self, seen: SeenReplica, row: ReplicaRow) -> bool:
        """Its process has ended: prove that nothing is left, then forget it. False as long as anything is found."""
        freed = self._freed(seen, row)
        if freed is None:
            return False
        late = self._clock() > (row.deadline_at or 0.0) + _KILL_SECONDS
        kept = keepers.prove(row, late=late)
        if kept is None or not self._folder_removed(seen):
            return False
        reach("services.replica_gone")
        with self._ledger.entry(seen) as entry:
            if entry is None:
                return False
            if entry.service.state == ServiceState.DELETING:
                folder = self._home.service(seen.service)
                entry.service.removal = kept.added_to(freed.added_to(entry.service.removal, folder), folder)
            entry.tell(f"A replica of revision {seen.revision} is gone.")
            entry.session.delete(entry.replica)
        reach("services.replica_forgotten")
        return True

    def crashed(self, seen: SeenReplica, row: ReplicaRow, observed: Observation, *, said: str | None = None) -> bool:
        """It ended by itself: start it again, later each time. Its revision is given up where it never gets ready."""
        if self._freed(seen, row) is None:
            return False
        reason, failed = self._why(seen, observed, said)
        away = said is None and observed.exit_code == AWAY
        reach("services.crash_seen")
        with self._ledger.entry(seen) as entry:
            if entry is None:
                return False
            self._set_back(entry, reason, failed=failed, away=away)
        reach("services.crash_said")
        return True

    def _why(self, seen: SeenReplica, observed: Observation, said: str | None) -> tuple[Reason, bool]:
        """Why it ended, and whether it says itself that it cannot be."""
        code, words, logs = observed.exit_code, said or observed.message, self._executor.logs(seen.key)
        if said is None and code is not None and outcome.is_failure(code):
            return outcome.failure(code, words, self._home.services / seen.key, logs), True
        return outcome.crash(None if said else code, words, logs), False

    def _set_back(self, entry: Entry, reason: Reason, *, failed: bool, away: bool) -> None:
        """Let it rest. Where only the cluster was away that says nothing against the replica, and is not counted."""
        replica, revision = entry.replica, entry.revision
        was_ready = replica.state == R.READY
        crashes = replica.crashes if away else 1 if was_ready else replica.crashes + 1
        hopeless = crashes > self._config.service_retries or (failed and not revision.proven)
        takes_over = entry.service.revision != replica.revision
        if hopeless and not was_ready and (takes_over or not entry.others_ready()):
            again = "" if failed else f" It was started {crashes} times and never got ready."
            revision.state = "failed"
            revision.reason = reason.model_copy(update={"message": reason.message + again}).model_dump(
                exclude_none=True
            )
        wait = min(self._config.retry_seconds * 2.0 ** max(0, crashes - 1), self._config.retry_seconds_max)
        entry.move(
            R.BACKING_OFF, reason=reason, crashes=crashes, restarts=replica.restarts + 1, retry_at=entry.now + wait
        )
        entry.tell(f"A replica of revision {replica.revision} ended. {reason.message}", to=str(R.BACKING_OFF))

    def _freed(self, seen: SeenReplica, row: ReplicaRow) -> Freed | None:
        if seen.attempt == 0:
            return Freed()
        freed = removal.prove(self._executor, seen.last_attempt, row)
        if freed is None:
            self._executor.cancel(seen.last_attempt, force=True)  # what it started and left behind
        return freed

    def _folder_removed(self, seen: SeenReplica) -> bool:
        folder = self._home.services / seen.key
        if not folder.exists():
            return True
        removal.keep_log(self._executor.logs(seen.key), self._home.service(seen.service) / "logs" / f"{seen.id}.log")
        return removal.remove_folder(folder, self._home)
