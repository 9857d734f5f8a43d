"""What a keeper is started with, and starting one as a process that outlives who starts it."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from quickalign.core import paths
from quickalign.core.errors import StorageError
from quickalign.core.program import LEASE_MARK

MARK = "QUICKALIGN_KEEPER"
"""The variable by which everything that a keeper starts is known."""
_MOST_LOG_BYTES = 1 << 20
_STARTED: list[subprocess.Popen[bytes]] = []
"""Held so that one that ends before this process is collected when the next is started."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """One vLLM to be kept.

    Attributes:
        key: of all that must be equal for those that share it.
        python: the interpreter of vLLM's environment.
        arguments: of its server, without address and key.
        settings: further environment variables.
        model: what the server calls the base.
        probe: a prompt it must answer before it counts as ready.
        weights_bytes: what the base's weights take.
        mark: the value of `MARK`, of this keeper alone.
    """

    key: str
    python: str
    arguments: tuple[str, ...]
    settings: dict[str, str]
    model: str
    probe: tuple[int, ...]
    weights_bytes: int
    mark: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def log(self) -> str:
        """The file that takes what the keeper and its vLLM say; it goes when nothing went wrong."""
        return str(_folder() / f"{self.key}.log")


def begin(beginning: Beginning, listener: socket.socket) -> None:
    """Start a keeper that serves `listener`, in a session of its own and with no mark of the replica that starts it.

    Raises:
        StorageError: its log cannot be written.
    """
    log = Path(beginning.log)
    try:
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        is_long = log.exists() and log.stat().st_size > _MOST_LOG_BYTES
        stream = log.open("wb" if is_long else "ab")
    except OSError as error:
        raise StorageError(f"{log} cannot be written: {error.strerror or error}.", "Make room in the home.") from None
    passed = {name: value for name, value in os.environ.items() if name != LEASE_MARK}
    with stream:
        keeper = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "quickalign.serve.engines.vllm.keeper",
                str(listener.fileno()),
                json.dumps(asdict(beginning)),
            ],
            cwd=log.parent,  # the folder of the replica goes with it
            env=passed | {MARK: beginning.mark},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
    _STARTED[:] = [one for one in (*_STARTED, keeper) if one.poll() is None]


def _folder() -> Path:
    return paths.home() / "engines" / "shared"
