"""The server of a home: found where it runs, started in the background where it does not, stopped when asked.

<home>/server.json says where it listens and which process it is; the server writes it when it is ready and removes it
at its end. A process is known by its pid and the time it was created, so that a pid that was given to another process
since is never taken for the server.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from quickalign.core import paths
from quickalign.core.errors import AccessError, QuickalignError, StorageError, UnavailableError
from quickalign.sdk.place import Place

_START_SECONDS = 180.0
_STOP_SECONDS = 30.0
_HEALTH_SECONDS = 5.0
_PAUSE = 0.05
_SAME_TIME = 1.0
"""Seconds within which two creation times are the same: the clock they are counted from may be set right meanwhile."""

_LOG_LINES = 15
_LARGE_LOG = 16 << 20
_LEAST_BYTES = 64 << 10
"""No server can do anything with less on its disk."""

# Popen objects of servers this process started, kept so that their end is noticed and they leave no zombie.
_children: list[subprocess.Popen[bytes]] = []


class ServerFile(BaseModel):
    """What a running server writes about itself."""

    endpoint: str
    pid: int
    create_time: float
    version: str = ""
    started_at: float | None = None


def server_file(home: Path) -> Path:
    """Where the server of `home` says how to reach it."""
    return home / "server.json"


def log_file(home: Path) -> Path:
    """Where a server that was started in the background writes."""
    return home / "log" / "server.log"


def find(home: Path) -> ServerFile | None:
    """The server of `home` where it runs and answers, else None."""
    found = read(home)
    return found if found and process_of(found) and _answers(found.endpoint) else None


def find_or_start(home: Path) -> Place:
    """The server of `home`; started in the background where none runs.

    Raises:
        UnavailableError: it cannot be started; with the last lines of its log.
        AccessError: there is a server, and this home holds no token for it.
    """
    home = home.absolute()
    found = find(home) or start(home)
    return place(home, found)


def place(home: Path, found: ServerFile) -> Place:
    """How to reach the server `found` in `home`."""
    path = home / "token"
    try:
        token = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise AccessError(
            f"The token of the server at {found.endpoint} cannot be read from {path}: {error.strerror}.",
            "`quickalign server stop`, then `start`, makes a new one where the file was deleted.",
        ) from None
    return Place(found.endpoint.rstrip("/"), token, home)


def start(home: Path, arguments: Sequence[str] = ("--port", "0")) -> ServerFile:
    """Start the server of `home` in a session of its own, and wait until it is ready; one that runs is left alone.

    Two programs that do this at once start one server.

    Raises:
        UnavailableError: it ended or did not become ready in time; with the last lines of its log.
        StorageError: the home cannot be written, or its disk is full.
    """
    home = home.absolute()
    try:
        paths.make_home(home)
        log_file(home).parent.mkdir(exist_ok=True, mode=0o700)
        with FileLock(home / "start.lock").acquire(timeout=_START_SECONDS):
            return find(home) or _launch(home, arguments)
    except Timeout:
        raise UnavailableError(
            f"Another program has been starting the server of {home} for {_START_SECONDS:.0f} s.",
            f"Look into {log_file(home)}.",
        ) from None
    except OSError as error:
        raise StorageError(
            f"The home folder {home} cannot be written: {error.strerror or error}.",
            "Set QUICKALIGN_HOME to a folder that can be.",
        ) from None


def stop(home: Path) -> ServerFile | None:
    """End the server of `home` and wait until it is gone; returns what it was, None where none runs.

    Jobs that run go on by themselves and are found again by the next server.

    Raises:
        UnavailableError: it does not end.
    """
    found = read(home.absolute())
    process = process_of(found) if found else None
    if found is None or process is None:
        return None
    with suppress(psutil.NoSuchProcess):
        process.terminate()
    deadline = time.monotonic() + _STOP_SECONDS
    while process_of(found):
        if time.monotonic() > deadline:
            raise UnavailableError(
                f"The server (process {found.pid}) did not end within {_STOP_SECONDS:.0f} s.",
                f"Look into {log_file(home)}; `kill -9 {found.pid}` ends it without harm to jobs.",
            )
        time.sleep(_PAUSE)
    return found


def read(home: Path) -> ServerFile | None:
    """What server.json says, whether or not it is true any more; None where there is none or it is no such file."""
    try:
        return ServerFile.model_validate_json(server_file(home).read_bytes())
    except (OSError, ValidationError):
        return None


def process_of(found: ServerFile) -> psutil.Process | None:
    """The process that wrote `found`, None where it is gone or its pid is another's now."""
    for child in _children:
        child.poll()
    try:
        process = psutil.Process(found.pid)
        same = abs(process.create_time() - found.create_time) <= _SAME_TIME
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def _launch(home: Path, arguments: Sequence[str]) -> ServerFile:
    command = [sys.executable, "-m", "quickalign.server", "--home", str(home), *arguments]
    environment = {**os.environ, "QUICKALIGN_HOME": str(home)}
    _set_aside(log_file(home))
    with log_file(home).open("ab") as log:
        # its own session: a Ctrl-C or the end of this terminal is not meant for the server
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=environment
        )
    _children.append(child)
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        ended = child.poll() is not None
        # one that ended may have met another server of this home, started by hand at the same moment
        if found := find(home):
            return found
        if ended:
            raise _failed(home, f"ended with exit code {child.returncode}")
        time.sleep(_PAUSE)
    child.terminate()
    raise _failed(home, f"was not ready within {_START_SECONDS:.0f} s")


def _set_aside(log: Path) -> None:
    """A log that has grown large makes room, in the place of the one before it."""
    with suppress(OSError):
        if log.stat().st_size > _LARGE_LOG:
            log.replace(log.with_name(f"{log.name}.1"))


def _failed(home: Path, how: str) -> QuickalignError:
    if shutil.disk_usage(home).free < _LEAST_BYTES:  # what it said of that found no room either, or a part of it did
        return StorageError(
            f"The disk that holds {home} is full, so the server {how}.", "Make room and try again; nothing was lost."
        )
    lines = last_lines(log_file(home), _LOG_LINES)
    said = "\n".join(["", *lines]) if lines else " nothing."
    return UnavailableError(
        f"The server of {home} {how}. It said:{said}",
        f"Mend what it names, or run it where you can see it: `quickalign server run`. Its log is {log_file(home)}.",
    )


def last_lines(path: Path, number: int) -> list[str]:
    """The last lines of a text file, without those that are empty."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - 16_384))
            text = stream.read().decode(errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-number:]


def _answers(endpoint: str) -> bool:
    """Whether a server answers there; a proxy of the environment is not asked for this machine's own address."""
    try:
        with httpx.Client(trust_env=False, timeout=_HEALTH_SECONDS) as client:
            return client.get(f"{endpoint.rstrip('/')}/healthz").is_success
    except httpx.HTTPError:
        return False
