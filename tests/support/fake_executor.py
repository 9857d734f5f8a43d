"""An executor without processes: a small world that outlives the server, moved on by the test."""

from dataclasses import dataclass, field
from pathlib import Path

from quickalign.platform.crashpoints import reach
from quickalign.platform.executors.base import Attempt, Launch, Observation, Phase, Recovery
from quickalign.platform.processes import Identity

BOOT = "the world of a test"
_PIDS = 1 << 23


@dataclass
class Run:
    """An attempt as the world knows it: claimed by a process, alive, or ended with a code.

    `pending` is what a cluster says of one that has no room yet.
    """

    attempt: Attempt
    launch: Launch
    claimed: bool = False
    revoked: bool = False
    alive: bool = False
    exit_code: int | None = None
    asked_to_stop: bool = False
    number: int = 0
    pending: str | None = None

    @property
    def pid(self) -> int:
        """The id of its process: one that no real process can have."""
        return _PIDS + self.number


@dataclass
class World:
    """What goes on outside any server, and what must never happen in it."""

    runs: dict[tuple[str, int], Run] = field(default_factory=dict)
    twice: list[str] = field(default_factory=list)

    def waiting(self) -> list[Run]:
        """Started, but its process has not come so far."""
        return [run for run in self.runs.values() if not run.claimed and not run.revoked]

    def alive(self) -> list[Run]:
        return [run for run in self.runs.values() if run.alive]

    def arrive(self, run: Run) -> None:
        """The process comes; it does not begin where the server has given it up."""
        if run.revoked or run.claimed:
            return
        if any(other.alive for other in self.runs.values() if other.attempt.job == run.attempt.job):
            self.twice.append(run.attempt.job)
        run.claimed = run.alive = True

    def end(self, run: Run, code: int | None) -> None:
        """The process ends with a code, or vanishes."""
        run.alive = False
        run.exit_code = code
        if code == 0 and run.launch.results:
            run.launch.results.mkdir(parents=True, exist_ok=True)
            (run.launch.results / "result.json").write_text(
                '{"adapter": "/adapter", "adapter_sha256": "%s"}' % ("a" * 64)
            )


class FakeExecutor:
    """See `quickalign.platform.executors.base.Executor`."""

    def __init__(self, world: World) -> None:
        self.world = world

    def submit(self, attempt: Attempt, launch: Launch) -> None:
        reach("fake.before_submit")
        key = (attempt.job, attempt.number)
        assert key not in self.world.runs, "an attempt was begun twice"
        self.world.runs[key] = Run(attempt, launch, number=len(self.world.runs))
        reach("fake.submitted")

    def observe(self, attempt: Attempt) -> Observation:
        run = self._run(attempt)
        if run is not None and run.pending and not run.claimed and not run.revoked:
            return Observation(Phase.PENDING, message=run.pending)
        if run is None or (not run.claimed and not run.revoked):
            return Observation(Phase.WAITING)
        if run.revoked:
            return Observation(Phase.NEVER_RAN)
        if run.alive:
            return Observation(Phase.RUNNING)
        if run.exit_code is None:
            return Observation(Phase.VANISHED)
        return Observation(Phase.FINISHED, exit_code=run.exit_code)

    def cancel(self, attempt: Attempt, *, force: bool) -> None:
        run = self._run(attempt)
        if run is None or not run.alive:
            return
        run.asked_to_stop = True
        if force:
            self.world.end(run, None)

    def processes(self, attempt: Attempt) -> tuple[Identity, ...]:
        run = self._run(attempt)
        return (Identity(pid=run.pid, create_time=0, boot_id=BOOT),) if run and run.alive else ()

    def logs(self, job: str) -> list[Path]:
        return []

    def recover(self, attempt: Attempt) -> Recovery:
        run = self._run(attempt)
        if run is None:
            run = Run(attempt, Launch((), Path("/")), revoked=True)
            self.world.runs[attempt.job, attempt.number] = run
        elif not run.claimed:
            run.revoked = True
        reach("fake.recovered")
        return Recovery.REQUEUE if run.revoked else Recovery.REATTACH

    def _run(self, attempt: Attempt) -> Run | None:
        run = self.world.runs.get((attempt.job, attempt.number))
        return run if run and run.attempt.lease_token == attempt.lease_token else None
