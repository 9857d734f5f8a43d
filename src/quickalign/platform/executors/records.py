"""The files of an attempt, shared by the executors and their wrapper.

lease.json     what the server wants run, and its token
wrapper.json   the claim: made by link, so that the wrapper and a server that gives up cannot both win
heartbeat      touched while the wrapper lives
stop, kill     what the server asks a wrapper that may be on another machine
stdout.log     what the command said
exit.json      how it ended; written last
"""

import json
import os
import tempfile
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from quickalign.platform.processes import Identity

LEASE, CLAIM, HEARTBEAT, LOG, EXIT = "lease.json", "wrapper.json", "heartbeat", "stdout.log", "exit.json"
STOP, KILL = "stop", "kill"
RUN_LOCK = "run.lock"
"""In the job's folder: held through an inherited descriptor by the wrapper and by everything it starts."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class Share(_Record):
    """What a cluster reserves for the command itself; a command that spreads workers reserves theirs by itself."""

    cpus: float = 0.0
    gpus: int = 0
    memory_bytes: int = 0


class Lease(_Record):
    """What to run, and for whom.

    With `fence_seconds` the wrapper ends its command when it could not touch its heartbeat for so long: somebody who
    sees nothing else may have given it up. One that `yields` stops when what started it is gone, because its GPU is
    somebody else's then. `share` is what a cluster reserves for it.
    """

    job: str
    attempt: int
    lease_token: str
    command: tuple[str, ...]
    folder: str
    environment: dict[str, str] = {}
    results: str | None = None
    copy_to: str | None = None
    fence_seconds: float | None = None
    yields: bool = False
    share: Share | None = None


class Claim(_Record):
    """Who runs the attempt: a wrapper with its trainer, or nobody ever because the server revoked it.

    `place` is where their process ids mean something.
    """

    attempt: int
    lease_token: str
    revoked: bool = False
    wrapper: Identity | None = None
    child: Identity | None = None
    place: str | None = None


class Exit(_Record):
    """How it ended: an exit code, or the signal that killed it; `message` where the wrapper has something to say."""

    lease_token: str
    code: int | None
    signal: int | None = None
    message: str | None = None
    finished_at: float


R = TypeVar("R", bound=_Record)


def read(path: Path, kind: type[R]) -> R | None:
    """The record in the file; None where there is none, or none of this kind."""
    try:
        return kind.model_validate(json.loads(path.read_bytes()))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, ValidationError):
        return None


def create(path: Path, record: _Record) -> bool:
    """Write the record whole where there is no file yet; False where somebody was faster."""
    temporary = _write_beside(path, record)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def replace(path: Path, record: _Record) -> None:
    """Write the record whole, over what is there."""
    temporary = _write_beside(path, record)
    try:
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def touch(path: Path) -> bool:
    """Set the file's time to now, and make it where it is not; whether that could be done."""
    try:
        path.touch()
    except OSError:
        return False
    return True


def _write_beside(path: Path, record: _Record) -> Path:
    descriptor, name = tempfile.mkstemp(prefix=".tmp-", dir=path.parent)
    content: dict[str, Any] = record.model_dump()
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(json.dumps(content, indent=1).encode() + b"\n")
        stream.flush()
        os.fsync(stream.fileno())
    return Path(name)
