"""The executor of this machine: a wrapper process an attempt, known by files and by (pid, start time)."""

import subprocess
import sys
from pathlib import Path

from quickalign.platform.devices import visible
from quickalign.platform.executors.base import Attempt, Launch, Observation
from quickalign.platform.executors.files import FileExecutor, lease_of
from quickalign.platform.executors.records import Lease
from quickalign.platform.processes import Identity

WRAPPER = "quickalign.platform.executors.wrapper"


class LocalExecutor(FileExecutor):
    """Runs attempts as processes of this user."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._wrappers: list[subprocess.Popen[bytes]] = []

    def observe(self, attempt: Attempt) -> Observation:
        """See `Executor`."""
        self._reap()
        return super().observe(attempt)

    def processes(self, attempt: Attempt) -> tuple[Identity, ...]:
        """See `Executor`."""
        self._reap()
        return super().processes(attempt)

    def _lease(self, attempt: Attempt, launch: Launch) -> Lease:
        return lease_of(attempt, launch, visible(launch.device))

    def _begin(self, attempt: Attempt, folder: Path) -> None:
        command = [sys.executable, "-m", WRAPPER, str(folder), attempt.lease_token]
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
