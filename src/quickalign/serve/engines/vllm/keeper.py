"""`python -m quickalign.serve.engines.vllm.keeper FD BEGINNING`: one vLLM that many replicas use, and its end.

FD is a socket that listens already, BEGINNING what to start, as JSON. Each open connection that has asked is a claim.
With the last claim, however it came to close, vLLM ends and the keeper with it; a vLLM that ends by itself ends the
keeper, and the claims see their connections close.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quickalign.core.errors import QuickalignError, RunError
from quickalign.serve.engine import EngineCannotError
from quickalign.serve.engines.vllm import rendezvous
from quickalign.serve.engines.vllm.adapters import Adapters
from quickalign.serve.engines.vllm.beginning import Beginning
from quickalign.serve.engines.vllm.server import VllmServer

_log = logging.getLogger(__name__)
_ASK_SECONDS = 10.0
"""How long a client may take to say what it wants; others are not held up by it."""
_FIRST_SECONDS = 60.0
"""How long nobody may come to a keeper that was just started."""
_LOOK_SECONDS = 0.2
ENDING = {"ending": True}
"""Said to who comes when the end has begun: ask again in a moment."""


@dataclass(frozen=True, slots=True, eq=False)
class _Claim:
    """A client that has asked: its process, and the adapter it uses."""

    pid: int
    adapter: str | None
    folder: str | None


class Keeper:
    """Keeps one vLLM as long as anybody has a claim on it. `run` is its whole life."""

    def __init__(self, beginning: Beginning, listener: socket.socket) -> None:
        self._beginning, self._listener = beginning, listener
        self._claims: set[_Claim] = set()
        self._open: set[asyncio.StreamWriter] = set()
        self._over = asyncio.Event()
        self._ready: asyncio.Future[Adapters] = asyncio.get_running_loop().create_future()
        self._server: VllmServer | None = None

    async def run(self) -> str | None:
        """Serve until the last claim is gone; returns why vLLM ended where it did so by itself."""
        waiting = await asyncio.start_unix_server(self._come, sock=self._listener)
        life = asyncio.create_task(self._keep())
        lonely = asyncio.get_running_loop().call_later(_FIRST_SECONDS, self._leave_if_alone)
        await self._over.wait()
        lonely.cancel()
        # The name stays taken until vLLM has given back what it holds: who comes now is told to ask again.
        if self._server is not None:
            await asyncio.to_thread(self._server.end)
        why = await life
        for writer in self._open:
            if why is not None:
                _write(writer, {"ended": why})
            writer.close()
        waiting.close()
        return why

    async def _keep(self) -> str | None:
        """Start vLLM, and look whether it lives until the end; returns why it does not."""
        beginning = self._beginning
        try:
            self._server = VllmServer(Path(beginning.python), beginning.arguments, beginning.settings)
            await asyncio.to_thread(self._server.wait, beginning.model, beginning.probe)
        except (QuickalignError, OSError) as error:
            if self._over.is_set():
                return None
            said = error if isinstance(error, QuickalignError) else EngineCannotError(f"vLLM did not start: {error}")
            self._ready.set_exception(said)
            self._ready.exception()  # told to whoever asks; nobody may
            self._leave_if_alone()
            return str(said)
        self._ready.set_result(Adapters(self._server.endpoint, self._server.headers))
        while not self._over.is_set():
            try:
                self._server.check()
            except RunError as error:
                self._over.set()
                return error.message
            with suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), _LOOK_SECONDS)
        return None

    async def _come(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection from its beginning to its end."""
        try:
            connection = writer.get_extra_info("socket")
            asked = await asyncio.wait_for(_line(reader), _ASK_SECONDS)
            if asked is None or not rendezvous.is_ours(connection):
                return
            if asked == rendezvous.WHO:
                _write(writer, {"clients": sorted(claim.pid for claim in self._claims)})
            elif self._over.is_set():
                _write(writer, ENDING)
            else:
                claim = _Claim(rendezvous.peer(connection)[0], asked.get("adapter"), asked.get("folder"))
                await self._serve(claim, reader, writer)
        except (OSError, TimeoutError, ValueError):  # it went, was silent, or speaks something else
            return
        finally:
            writer.close()

    async def _serve(self, claim: _Claim, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hold the claim as long as its connection is open."""
        self._claims.add(claim)
        self._open.add(writer)
        left = asyncio.create_task(_gone(reader))
        loaded: asyncio.Task[None] | None = None
        try:
            either: set[asyncio.Future[Any]] = {left, self._ready}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if left.done():
                return
            adapters = self._ready.result()
            if claim.adapter is not None and claim.folder is not None:
                loaded = asyncio.create_task(adapters.hold(claim.adapter, claim.folder))
                await asyncio.shield(loaded)
            _write(writer, self._answer(claim))
            await left
        except QuickalignError as error:
            cannot = isinstance(error, EngineCannotError)
            _write(writer, {"error": error.message, "remedy": error.remedy, "cannot": cannot})
        finally:
            left.cancel()
            self._open.discard(writer)
            self._claims.discard(claim)
            self._leave_if_alone()
            if loaded is not None and not self._over.is_set():
                await self._let_go(claim, loaded)

    async def _let_go(self, claim: _Claim, loaded: asyncio.Task[None]) -> None:
        try:
            await loaded
        except EngineCannotError:
            return
        assert claim.adapter is not None
        assert claim.folder is not None
        await self._ready.result().release(claim.adapter, claim.folder)

    def _answer(self, claim: _Claim) -> dict[str, Any]:
        assert self._server is not None
        return {
            "endpoint": self._server.endpoint,
            "headers": self._server.headers,
            "key": self._beginning.key,
            "mark": self._beginning.mark,
            "pid": os.getpid(),
            "model": claim.adapter or self._beginning.model,
            "weights_bytes": self._beginning.weights_bytes,
        }

    def _leave_if_alone(self) -> None:
        if not self._claims:
            self._over.set()


def main(arguments: list[str]) -> int:
    """Keep what the arguments name; returns 0 when the last claim is gone, 1 when vLLM ended by itself."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    listener = socket.socket(fileno=int(arguments[0]))
    listener.setblocking(False)
    return asyncio.run(_run(Beginning(**json.loads(arguments[1])), listener))


async def _run(beginning: Beginning, listener: socket.socket) -> int:
    why = await Keeper(beginning, listener).run()
    if why is None:
        with suppress(OSError):  # it says nothing that anybody would look for
            Path(beginning.log).unlink()
        return 0
    sys.stderr.write(f"error: {why}\n")
    return 1


async def _line(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    told = json.loads(await reader.readline() or b"null")
    return told if isinstance(told, dict) else None


async def _gone(reader: asyncio.StreamReader) -> None:
    """Until the other end closes; what it says meanwhile means nothing."""
    with suppress(OSError):
        while await reader.read(65536):
            pass


def _write(writer: asyncio.StreamWriter, what: dict[str, Any]) -> None:
    with suppress(OSError):
        writer.write(json.dumps(what).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
