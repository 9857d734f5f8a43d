"""One look at one replica, and the one move that follows from it."""

from collections.abc import Callable

from quickalign.core.wire.jobs import Reason
from quickalign.platform.config import Config
from quickalign.platform.crashpoints import reach
from quickalign.platform.db.service_tables import ReplicaRow
from quickalign.platform.executors.base import Executor, Observation, Phase, Recovery
from quickalign.platform.home import Home
from quickalign.platform.processes import Identity, resident_bytes
from quickalign.platform.queue.admission import rests
from quickalign.platform.services import keepers, ready
from quickalign.platform.services.endings import Endings
from quickalign.platform.services.health import Probe
from quickalign.platform.services.ledger import Ledger
from quickalign.platform.services.moves import SeenReplica
from quickalign.platform.services.ready import Ready
from quickalign.platform.services.removal import identities
from quickalign.platform.services.secrets import Secrets
from quickalign.platform.services.starting import folder_of
from quickalign.platform.services.states import ReplicaState

R = ReplicaState
_CHECK_SECONDS = 5.0
_STRIKES = 3
"""Health checks in a row that a replica may miss before it is killed."""
_NOTICED_SHARE = 0.1
"""By how much the measured memory must change to be written down again."""


class Replicas:
    """Looks at replicas. Every move is a transaction that holds only while the row is as it was observed."""

    def __init__(
        self,
        *,
        home: Home,
        config: Config,
        executor: Executor,
        secrets: Secrets,
        ledger: Ledger,
        endings: Endings,
        probe: Probe,
        clock: Callable[[], float],
    ) -> None:
        self._home, self._config, self._executor = home, config, executor
        self._secrets, self._ledger, self._endings = secrets, ledger, endings
        self._probe, self._clock = probe, clock
        self._checked: dict[str, float] = {}
        self._strikes: dict[str, int] = {}
        self.recovered = False

    def look(self, row: ReplicaRow, service: str, *, suspect: bool = False) -> bool:
        """Look at a replica of the service with that id; whether anything about it changed.

        `suspect` says that it may be gone, so that its health is checked now.
        """
        seen = SeenReplica.of(row, service)
        match seen.state:
            case R.WAITING:
                return False
            case R.BACKING_OFF:
                rested = not rests(row.retry_at, self._clock(), self._config.retry_seconds_max)
                return rested and self._ledger.move(seen, R.WAITING, retry_at=None)
            case R.STARTING:
                return self._starting(seen, row)
            case R.READY:
                return self._ready(seen, row, suspect=suspect)
            case R.STOPPING:
                self._strikes.pop(seen.id, None)
                self._checked.pop(seen.id, None)
                return self._stopping(seen, row)

    def unwell(self) -> set[str]:
        """The replicas that missed their last health check."""
        return set(self._strikes)

    def _starting(self, seen: SeenReplica, row: ReplicaRow) -> bool:
        observed = self._executor.observe(seen.last_attempt)
        match observed.phase:
            case Phase.UNKNOWN:
                return False
            case Phase.WAITING:
                return self._unclaimed(seen, row)
            case Phase.PENDING:
                return self._pending(seen, row, observed)
            case Phase.NEVER_RAN:
                return self._ledger.move(seen, R.WAITING, "A replica was not started after all, and waits again.")
            case Phase.RUNNING:
                return self._running(seen, row)
            case Phase.FINISHED | Phase.VANISHED:
                return self._endings.crashed(seen, row, observed, said=self._lateness(row))

    def _unclaimed(self, seen: SeenReplica, row: ReplicaRow) -> bool:
        """Nobody has claimed the start. One of another server's life, or late, is settled now."""
        late = self._is_late(row)
        if self.recovered and not late:
            return False
        answer = self._executor.recover(seen.last_attempt)
        if answer is Recovery.REATTACH:
            return False
        if answer is Recovery.REQUEUE and not late:
            return self._ledger.move(seen, R.WAITING, "A replica was not started after all, and waits again.")
        return self._endings.crashed(seen, row, Observation(Phase.VANISHED), said="It did not begin in time.")

    def _pending(self, seen: SeenReplica, row: ReplicaRow, observed: Observation) -> bool:
        """The cluster has no room for it yet: say so, and give it time from now."""
        limit = self._config.service_start_seconds
        reason = Reason(code="waiting_for_cluster", message=observed.message or "The cluster has no room for it yet.")
        told = reason.model_dump(exclude_none=True)
        if row.reason != told or (row.deadline_at or 0.0) - self._clock() < limit / 2:
            self._ledger.note(seen, reason=told, deadline_at=self._clock() + limit)
        return False

    def _running(self, seen: SeenReplica, row: ReplicaRow) -> bool:
        """The process lives: whether it is ready, by its own word and by its health."""
        told = ready.read(folder_of(self._home, seen.last_attempt) / "ready.json")
        processes = self._executor.processes(seen.last_attempt) if told else ()
        is_own = told is not None and told.pid in {one.pid for one in processes}
        if told is not None and is_own and self._is_well(seen, told.endpoint):
            return self._now_ready(seen, told, processes)
        if self._is_late(row):
            self._executor.cancel(seen.last_attempt, force=True)
        return False

    def _now_ready(self, seen: SeenReplica, told: Ready, processes: tuple[Identity, ...]) -> bool:
        reach("services.ready_seen")
        keeper = keepers.seen(told.keeper)
        with self._ledger.entry(seen) as entry:
            if entry is None:
                return False
            since = (entry.replica.deadline_at or entry.now) - self._config.service_start_seconds
            entry.move(
                R.READY,
                pid=told.pid,
                endpoint=told.endpoint,
                answers=told.limit,
                ready_at=entry.now,
                crashes=0,
                held_bytes=resident_bytes(processes),
                processes=_kept(processes),
                keeper=keeper,
            )
            revision = entry.revision
            if keeper is None:  # it was planned to share, and has a base of its own
                revision.shared_key = revision.shared_base = revision.shared_bytes = None
            revision.engine, revision.precision, revision.context = told.engine, told.precision, told.context
            revision.weights_bytes, revision.proven = told.weights_bytes, True
            revision.proof = {"checks": [check.model_dump() for check in told.proof or ()]}
            entry.tell(
                f"A replica of revision {seen.revision} is ready after {entry.now - since:.1f} seconds: "
                f"{told.engine}, {told.precision}.",
                to=str(R.READY),
            )
        reach("services.ready_said")
        self._checked[seen.id] = self._clock()
        return True

    def _ready(self, seen: SeenReplica, row: ReplicaRow, *, suspect: bool) -> bool:
        observed = self._executor.observe(seen.last_attempt)
        if observed.phase is Phase.UNKNOWN:
            return False
        if observed.phase is not Phase.RUNNING:
            sick = self._strikes.pop(seen.id, 0) >= _STRIKES
            said = f"It missed {_STRIKES} health checks in a row and was killed." if sick else None
            return self._endings.crashed(seen, row, observed, said=said)
        now = self._clock()
        if seen.id not in self._strikes and not suspect and now - self._checked.get(seen.id, 0.0) < _CHECK_SECONDS:
            return False
        self._checked[seen.id] = now
        if self._is_well(seen, row.endpoint or ""):
            self._strikes.pop(seen.id, None)
            self._measure(seen, row)
            return False
        self._strikes[seen.id] = self._strikes.get(seen.id, 0) + 1
        if self._strikes[seen.id] >= _STRIKES:
            self._executor.cancel(seen.last_attempt, force=True)
        return False

    def _stopping(self, seen: SeenReplica, row: ReplicaRow) -> bool:
        phase = self._executor.observe(seen.last_attempt).phase if seen.attempt else Phase.NEVER_RAN
        if phase in (Phase.WAITING, Phase.PENDING):
            settled = self._executor.recover(seen.last_attempt) is not Recovery.REATTACH
            return settled and self._endings.gone(seen, row)
        if phase is Phase.RUNNING:
            self._measure(seen, row)
            self._endings.end(seen, row)
            return False
        return phase is not Phase.UNKNOWN and self._endings.gone(seen, row)

    def _measure(self, seen: SeenReplica, row: ReplicaRow) -> None:
        """Write down the processes and their memory, where that is news. What is to be freed only grows."""
        processes = self._executor.processes(seen.last_attempt)
        held, before, known = resident_bytes(processes), row.held_bytes or 0, identities(row)
        if row.state == R.STOPPING:
            processes = (*known, *(one for one in processes if one not in known))
            held = max(held, before)
        if abs(held - before) > _NOTICED_SHARE * before or not set(processes) <= set(known):
            self._ledger.note(seen, held_bytes=held, processes=_kept(processes))

    def _is_well(self, seen: SeenReplica, endpoint: str) -> bool:
        return self._probe(endpoint, self._secrets.replica_token(seen.id, seen.attempt))

    def _is_late(self, row: ReplicaRow) -> bool:
        return row.deadline_at is not None and self._clock() > row.deadline_at

    def _lateness(self, row: ReplicaRow) -> str | None:
        """What to say of a start that was killed because it took too long."""
        late = self._is_late(row)
        return f"It was not ready within {self._config.service_start_seconds:.0f} seconds." if late else None


def _kept(processes: tuple[Identity, ...]) -> dict[str, object]:
    return {"identities": [one.model_dump() for one in processes]}
