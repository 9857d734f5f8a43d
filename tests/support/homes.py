"""Fresh homes for real servers, which end with the test whatever happens in it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from quickalign.sdk import discover

COMMAND = (sys.executable, "-c", "from quickalign.cli.main import run; run()")


def environment(home: Path, **more: str) -> dict[str, str]:
    """The environment of a user on a machine with nothing configured, but for a home."""
    ours = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "QUICKALIGN_ENDPOINT", "QUICKALIGN_TOKEN"}
    values = {name: value for name, value in os.environ.items() if name not in ours}
    return {**values, "QUICKALIGN_HOME": str(home), "OMP_NUM_THREADS": "1", "TERM": "xterm-256color", **more}


@contextmanager
def fresh_home(folder: Path) -> Iterator[Path]:
    """An empty home; what a server of it started is gone afterwards."""
    home = folder / "home"
    home.mkdir()
    try:
        yield home
    finally:
        with suppress(Exception):
            discover.stop(home)
        for process in processes_of(home):
            with suppress(psutil.Error):
                process.kill()


def processes_of(home: Path) -> list[psutil.Process]:
    """All processes that name `home` on their command line or in their environment, but for this one."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            named = any(str(home) in part for part in process.cmdline())
            if named or process.environ().get("QUICKALIGN_HOME") == str(home):
                found.append(process)
    return found


def servers_of(home: Path) -> list[psutil.Process]:
    """The server processes of `home`."""
    return [process for process in processes_of(home) if "quickalign.server" in process.cmdline()]


def run(home: Path, cwd: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """One command of the command line to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=environment(home, **settings),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def wait_until(holds: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{holds} did not become true within {seconds} s"
        time.sleep(0.05)
