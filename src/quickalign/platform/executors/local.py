"""The executor of this machine: a wrapper process an attempt, known by files and by (pid, start time)."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from quickalign.core.errors import StorageError
from quickalign.platform.crashpoints import reach
from quickalign.platform.executors import records
from quickalign.platform.executors.base import Attempt, Launch, Observation, Phase, Recovery
from quickalign.platform.executors.records import Claim, Exit, Lease
from quickalign.platform.processes import Identity, Sight, kill_holders, look, members, send


class LocalExecutor:
    """Runs attempts as processes of this user; all it knows lies in a folder for each thing it runs, in `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._wrappers: list[subprocess.Popen[bytes]] = []

    def submit(self, attempt: Attempt, launch: Launch) -> None:
        """See `Executor`."""
        folder = self._folder(attempt)
        environment = {"PYTHONUNBUFFERED": "1"}
        environment["CUDA_VISIBLE_DEVICES"] = "" if launch.device is None else str(launch.device)
        lease = Lease(
            job=attempt.job,
            attempt=attempt.number,
            lease_token=attempt.lease_token,
            command=launch.command,
            folder=str(launch.folder),
            environment=environment,
            results=str(launch.results) if launch.results else None,
            copy_to=launch.copy_to,
        )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            records.replace(folder / records.LEASE, lease)
            reach("local.leased")
            self._spawn(folder, attempt)
        except OSError as error:
            raise StorageError(
                f"{attempt.job} cannot be started: {error.strerror or error}.", "Make room, or see server.log."
            ) from None
        reach("local.spawned")

    def observe(self, attempt: Attempt) -> Observation:
        """See `Executor`."""
        self._reap()
        if ended := self._ended(attempt):
            return ended
        claim = self._claim(attempt)
        if claim is None:
            return Observation(Phase.WAITING)
        if claim.revoked or claim.wrapper is None:
            return Observation(Phase.NEVER_RAN)
        sight = look(claim.wrapper)
        if sight is Sight.ALIVE:
            return Observation(Phase.RUNNING, silent_seconds=self._silent_seconds(attempt))
        if sight is Sight.UNKNOWN:
            return Observation(Phase.UNKNOWN)
        # It may have written its last word between the first look and its end.
        return self._ended(attempt) or self._after_wrapper(attempt, claim)

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
        self._reap()
        claim = self._claim(attempt)
        return members(claim.wrapper) if claim and claim.wrapper else ()

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

    def _spawn(self, folder: Path, attempt: Attempt) -> None:
        command = [sys.executable, "-m", "quickalign.platform.executors.wrapper", str(folder), attempt.lease_token]
        with (folder / "wrapper.log").open("ab") as log:
            wrapper = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._wrappers.append(wrapper)

    def _reap(self) -> None:
        """Collect wrappers that ended, so that none stays as a zombie."""
        self._wrappers = [wrapper for wrapper in self._wrappers if wrapper.poll() is None]

    def _folder(self, attempt: Attempt) -> Path:
        return self._root / attempt.job / "attempts" / str(attempt.number)


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
