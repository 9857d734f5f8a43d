"""A replica's way to its clients: a socket of its own, and uvicorn on it until a signal or a failure ends it."""

from __future__ import annotations

import asyncio
import signal
import socket
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, Protocol

import uvicorn

from quickalign.core.errors import OptionError
from quickalign.serve.engine import EngineFailedError
from quickalign.serve.http.protocol import BoundedHttp

_CLOSE_SECONDS = 5
_BACKLOG = 2048


class Answering(Protocol):
    """What makes the answers behind a server: an engine, or replicas elsewhere."""

    @property
    def failed(self) -> asyncio.Event:
        """Set when no more answers can be made."""

    @property
    def failure(self) -> str | None:
        """Why; None as long as they can."""

    def fail(self, reason: str) -> None:
        """End every open answer with an error, and take no more requests."""


class Server:
    """uvicorn on a socket of ours, ended by a signal or by the end of what answers."""

    def __init__(self, app: Any, listener: socket.socket, drain_seconds: float) -> None:
        config = uvicorn.Config(
            app,
            http=BoundedHttp,
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
            date_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
            timeout_graceful_shutdown=int(drain_seconds) + _CLOSE_SECONDS,
        )
        self._server = _Quiet(config)
        self._listener = listener
        self._drain = drain_seconds
        self._told_to_end = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def running(self, answering: Answering) -> Running:
        """The server for the length of the block; open answers may finish behind it."""
        return Running(self, answering)

    async def start(self) -> None:
        """Listen; returns when requests are taken."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_end.set)
        self._task = asyncio.create_task(self._server.serve(sockets=[self._listener]))
        while not self._server.started:
            if self._task.done():
                self._task.result()
                raise OptionError("The endpoint could not be opened; the log says why.")
            await asyncio.sleep(0.005)

    async def ended(self, answering: Answering) -> None:
        """Wait until the process is told to end.

        Raises:
            EngineFailedError: what answers failed first.
        """
        waits = [asyncio.create_task(self._told_to_end.wait()), asyncio.create_task(answering.failed.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
        if answering.failure is not None:
            raise EngineFailedError(answering.failure)

    async def stop(self, answering: Answering) -> None:
        """Take no more requests, and let open answers finish; those that last too long end with an error."""
        self._server.should_exit = True
        if self._task is None:
            return
        await asyncio.wait({self._task}, timeout=self._drain)
        answering.fail("The replica is shutting down.")
        with suppress(asyncio.CancelledError):
            await self._task


class Running:
    """The length of time in which a server takes requests."""

    def __init__(self, server: Server, answering: Answering) -> None:
        self._server = server
        self._answering = answering

    async def __aenter__(self) -> None:
        await self._server.start()

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(self._answering)


class _Quiet(uvicorn.Server):
    """uvicorn without handlers for signals: `Server` has them."""

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """Leave signals alone."""
        return nullcontext()


def bind(host: str, port: int) -> socket.socket:
    """A socket of our own, so that a port is taken once and known before anything is loaded.

    Raises:
        OptionError: there is no such address, or the port is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise OptionError(
            f"The endpoint {host}:{port} cannot be opened: {error.strerror or error}.",
            "Choose another port; 0 takes a free one.",
        ) from None
    listener.setblocking(False)
    return listener


def endpoint_of(listener: socket.socket) -> str:
    """Where the socket is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
