"""The executor port: what the reconciler asks of whatever runs jobs.

Every call may be repeated, and every answer comes from what is outside the server's memory, so that a server that was
killed at any moment goes on as if it had not been.
"""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from quickalign.platform.processes import Identity


@dataclass(frozen=True, slots=True)
class Attempt:
    """One start of a job or of a replica: the fence that all calls carry.

    `job` is what it is a start of: a folder's path below the executor's.
    """

    job: str
    number: int
    lease_token: str


@dataclass(frozen=True, slots=True)
class Launch:
    """What to run: `command` in `folder`. `device` is the GPU's index on this machine, None for the CPU.

    `results` and `copy_to` say what is copied where when the command has ended well. `workers` is the number of
    processes that the command spreads over a cluster by itself; `cpus`, `gpus` and `memory_bytes` are what each of
    them takes where a cluster finds the place (0: nothing is reserved).
    """

    command: tuple[str, ...]
    folder: Path
    device: int | None = None
    results: Path | None = None
    copy_to: str | None = None
    workers: int = 1
    cpus: float = 1.0
    gpus: int = 0
    memory_bytes: int = 0


class Phase(Enum):
    """Where an attempt stands.

    WAITING: nobody has claimed it yet, and somebody still may. PENDING: likewise, and a cluster has it and says what it
    waits for, so that it is not late. RUNNING: its process lives. FINISHED: it ended by itself and said how. NEVER_RAN:
    it did not begin and never will. VANISHED: it was there and is gone without a word. UNKNOWN: cannot be decided now;
    nothing may be started or killed for it.
    """

    WAITING = "waiting"
    PENDING = "pending"
    RUNNING = "running"
    FINISHED = "finished"
    NEVER_RAN = "never_ran"
    VANISHED = "vanished"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen. `exit_code` is negative for a signal; `silent_seconds` is the age of the heartbeat."""

    phase: Phase
    exit_code: int | None = None
    message: str | None = None
    silent_seconds: float | None = None


class Recovery(Enum):
    """What to do with an attempt that nobody knows to have begun."""

    REATTACH = "reattach"
    REQUEUE = "requeue"
    FAIL = "fail"


class Executor(Protocol):
    """Runs attempts. Not one call waits for a job."""

    def submit(self, attempt: Attempt, launch: Launch) -> None:
        """Begin the attempt; it may be visible to `observe` only a little later.

        Raises:
            QuickalignError: it cannot begin; whether it was claimed is `recover`'s to say.
        """

    def observe(self, attempt: Attempt) -> Observation:
        """Where the attempt stands."""

    def cancel(self, attempt: Attempt, *, force: bool) -> None:
        """Ask the attempt to save and stop, or kill it with `force`; does nothing where it is not running."""

    def processes(self, attempt: Attempt) -> tuple[Identity, ...]:
        """Every process of the attempt that is there now: the command, what it started, and who watches over them."""

    def logs(self, job: str) -> list[Path]:
        """The log files of the job's attempts, oldest first; all but the last are complete."""

    def recover(self, attempt: Attempt) -> Recovery:
        """Settle an attempt that is WAITING or PENDING: it has begun after all, it never will from now on, or all is
        lost."""
