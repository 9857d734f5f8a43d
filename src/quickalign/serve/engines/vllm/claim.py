"""A claim on a vLLM that others use too: an open connection to its keeper, which is started where there is none."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quickalign.core.errors import RunError
from quickalign.serve.engine import EngineCannotError, KeeperInfo
from quickalign.serve.engines.vllm import rendezvous
from quickalign.serve.engines.vllm.beginning import Beginning, begin

_RACE_SECONDS = 60.0
"""How long a keeper that is ending may take."""
_AGAIN_SECONDS = 0.05
_MOST_TRIES = 3


@dataclass(slots=True)
class Claim:
    """A running vLLM as this process may use it, until `end`.

    Attributes:
        endpoint: its server.
        headers: what opens it.
        model: what it calls the adapter, or the base.
        weights_bytes: what the base takes.
        keeper: who keeps it.
    """

    endpoint: str
    headers: dict[str, str]
    model: str
    weights_bytes: int
    keeper: KeeperInfo
    _connection: socket.socket = field(repr=False)

    def check(self) -> None:
        """Nothing while the keeper lives.

        Raises:
            RunError: it or its vLLM has ended.
        """
        self._connection.setblocking(False)
        with suppress(BlockingIOError):
            told = rendezvous.hear(self._connection) or {}
            why = told.get("ended") or "its keeper is gone"
            raise RunError(f"The vLLM that services share has ended: {why}")

    def end(self) -> None:
        """Give the claim up; with the last one vLLM ends."""
        self._connection.close()


def claim(beginning: Beginning, adapter: tuple[str, str] | None) -> Claim:
    """Use the vLLM that `beginning` describes, which is started where it does not run.

    Args:
        beginning: what it is started with.
        adapter: the name of an adapter by its content, and its folder.

    Raises:
        EngineCannotError: vLLM cannot compute the model, or cannot use the adapter.
        RunError: a keeper ended three times without a word.
        StorageError: the home cannot be written.
    """
    asked = {"adapter": adapter[0], "folder": adapter[1]} if adapter else {"adapter": None}
    silent, until = 0, time.monotonic() + _RACE_SECONDS
    while silent < _MOST_TRIES and time.monotonic() < until:
        connection = rendezvous.connect(beginning.key) or _start(beginning)
        if connection is not None:
            began = time.monotonic()
            told = _ask(connection, asked)
            until += time.monotonic() - began  # loading is no race
            if told is not None and "endpoint" in told:
                return _made(told, connection)
            connection.close()
            if told is not None and "error" in told:
                kind = EngineCannotError if told.get("cannot") else RunError
                raise kind(str(told["error"]), told.get("remedy"))
            silent += told is None
        time.sleep(_AGAIN_SECONDS)
    raise RunError(
        f"A vLLM that services share could not be started: {_last_words(Path(beginning.log))}",
        f"{beginning.log} holds all that was said; share_base=false starts one for this service alone.",
    )


def _start(beginning: Beginning) -> socket.socket | None:
    """Start a keeper, and a connection to it; None where another process has just begun to."""
    listener = rendezvous.listen(beginning.key)
    if listener is None:
        return None
    with listener:
        begin(beginning, listener)
        return rendezvous.connect(beginning.key)


def _ask(connection: socket.socket, asked: dict[str, Any]) -> dict[str, Any] | None:
    try:
        rendezvous.say(connection, asked)
        return rendezvous.hear(connection)
    except OSError:
        return None


def _made(told: dict[str, Any], connection: socket.socket) -> Claim:
    keeper = KeeperInfo(key=told["key"], pid=told["pid"], mark=told["mark"])
    return Claim(told["endpoint"], told["headers"], told["model"], told["weights_bytes"], keeper, connection)


def _last_words(log: Path) -> str:
    try:
        lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    return lines[-1][:500] if lines else "it said nothing"
