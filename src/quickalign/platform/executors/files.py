"""What all executors share: an attempt is known by the files that its wrapper leaves.

Where the wrapper is started differs between executors; how it is told what to run, how it is watched, and how it is
settled whether it has begun do not.
"""

import contextlib
import fcntl
import os
import signal
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path

from quickalign.core.errors import StorageError
from quickalign.platform.crashpoints import reach
from quickalign.platform.executors import records
from quickalign.platform.executors.base import Attempt, Launch, Observation, Phase, Recovery
from quickalign.platform.executors.records import Claim, Exit, Lease
from quickalign.platform.executors.watch import MARK
from quickalign.platform.processes import Identity, Sight, kill_holders, look, members, send


class FileExecutor(ABC):
    """An executor whose attempts are wrappers; all it knows lies in a folder for each thing it runs, in `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @abstractmethod
    def _lease(self, attempt: Attempt, launch: Launch) -> Lease:
        """What the wrapper is told."""

    @abstractmethod
    def _begin(self, attempt: Attempt, folder: Path) -> None:
        """Start the wrapper of the attempt whose lease lies in `folder`."""

    def submit(self, attempt: Attempt, launch: Launch) -> None:
        """See `Executor`."""
        folder = self._folder(attempt)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            records.replace(folder / records.LEASE, self._lease(attempt, launch))
            reach("local.leased")
            self._begin(attempt, folder)
        except OSError as error:
            raise _not_started(attempt.job, error) from None
        reach("local.spawned")

    def observe(self, attempt: Attempt) -> Observation:
        """See `Executor`."""
        if ended := self._ended(attempt):
            return ended
        claim = self._claim(attempt)
        if claim is None:
            return self._unclaimed(attempt)
        if claim.revoked or claim.wrapper is None:
            return Observation(Phase.NEVER_RAN)
        return self._claimed(attempt, claim, claim.wrapper)

    def cancel(self, attempt: Attempt, *, force: bool) -> None:
        """See `Executor`."""
        claim = self._claim(attempt)
        if claim is None or claim.wrapper is None:
            return
        if force:
            send(claim.wrapper, signal.SIGKILL, group=True)
            for process in self.processes(attempt):
                send(process, signal.SIGKILL)
        elif claim.child:  # before that the wrapper may not listen yet; the next call finds it
            send(claim.wrapper, signal.SIGTERM)

    def processes(self, attempt: Attempt) -> tuple[Identity, ...]:
        """See `Executor`."""
        claim = self._claim(attempt)
        return members(claim.wrapper, mark_of(attempt)) if claim and claim.wrapper else ()

    def logs(self, job: str) -> list[Path]:
        """See `Executor`."""
        folder = self._root / job / "attempts"
        numbers = sorted(int(item.name) for item in folder.iterdir() if item.name.isdigit()) if folder.is_dir() else []
        files = [folder / str(number) / records.LOG for number in numbers]
        return [file for file in files if file.exists()]

    def recover(self, attempt: Attempt) -> Recovery:
        """See `Executor`."""
        folder = self._folder(attempt)
        revocation = Claim(attempt=attempt.number, lease_token=attempt.lease_token, revoked=True)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            won = records.create(folder / records.CLAIM, revocation)
        except OSError:
            return Recovery.REATTACH  # a full disk decides nothing
        reach("local.revoked")
        if won:
            return Recovery.REQUEUE
        claim = records.read(folder / records.CLAIM, Claim)
        if claim is None or claim.lease_token != attempt.lease_token:
            return Recovery.FAIL
        return Recovery.REQUEUE if claim.revoked else Recovery.REATTACH

    def _unclaimed(self, attempt: Attempt) -> Observation:
        """Where an attempt stands that nobody has claimed."""
        return Observation(Phase.WAITING)

    def _claimed(self, attempt: Attempt, claim: Claim, wrapper: Identity) -> Observation:
        """Where an attempt stands that a wrapper on this machine has claimed."""
        sight = look(wrapper)
        if sight is Sight.ALIVE:
            return Observation(Phase.RUNNING, silent_seconds=self._silent_seconds(attempt))
        if sight is Sight.UNKNOWN:
            return Observation(Phase.UNKNOWN)
        # It may have written its last word between the first look and its end.
        return self._ended(attempt) or self._after_wrapper(attempt, claim)

    def _after_wrapper(self, attempt: Attempt, claim: Claim) -> Observation:
        """The wrapper is gone; what it started must be too before anybody may say so."""
        lock = self._root / attempt.job / records.RUN_LOCK
        if _is_free(lock):
            return Observation(Phase.VANISHED)
        if claim.child:
            send(claim.child, signal.SIGKILL)
        kill_holders(lock)
        return Observation(Phase.UNKNOWN)

    def _ended(self, attempt: Attempt) -> Observation | None:
        ended = records.read(self._folder(attempt) / records.EXIT, Exit)
        if ended is None or ended.lease_token != attempt.lease_token:
            return None
        code = -ended.signal if ended.signal else ended.code
        return Observation(Phase.FINISHED, exit_code=code, message=ended.message)

    def _claim(self, attempt: Attempt) -> Claim | None:
        claim = records.read(self._folder(attempt) / records.CLAIM, Claim)
        return claim if claim and claim.lease_token == attempt.lease_token else None

    def _silent_seconds(self, attempt: Attempt) -> float | None:
        with contextlib.suppress(OSError):
            return max(0.0, time.time() - (self._folder(attempt) / records.HEARTBEAT).stat().st_mtime)
        return None

    def _folder(self, attempt: Attempt) -> Path:
        return self._root / attempt.job / "attempts" / str(attempt.number)


def lease_of(attempt: Attempt, launch: Launch, environment: dict[str, str]) -> Lease:
    """What any wrapper is told of the attempt; `environment` is added to what its command inherits."""
    return Lease(
        job=attempt.job,
        attempt=attempt.number,
        lease_token=attempt.lease_token,
        command=launch.command,
        folder=str(launch.folder),
        environment={"PYTHONUNBUFFERED": "1", MARK: attempt.lease_token} | environment,
        results=str(launch.results) if launch.results else None,
        copy_to=launch.copy_to,
    )


def mark_of(attempt: Attempt) -> str:
    """The variable that all processes of the attempt have, written NAME=value."""
    return f"{MARK}={attempt.lease_token}"


def _is_free(lock: Path) -> bool:
    """Whether nobody holds the job's lock: no wrapper, and nothing that one has started."""
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _not_started(job: str, error: OSError) -> StorageError:
    if not Path(sys.executable).exists():
        return StorageError(
            f"{job} cannot be started: the server's Python, {sys.executable}, is gone.",
            "Its installation was moved or deleted. `quickalign server stop`; the next command starts a new server.",
        )
    return StorageError(f"{job} cannot be started: {error.strerror or error}.", "Make room, or see server.log.")
