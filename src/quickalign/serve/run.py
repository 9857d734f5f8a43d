"""One replica from its specification to its end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

import uvicorn

from quickalign.core.errors import OptionError
from quickalign.serve.chat import Prompts, make_prompts
from quickalign.serve.engine import EngineCannotError, EngineFailedError, Load
from quickalign.serve.engines.registry import FALLBACK
from quickalign.serve.http.app import make_app
from quickalign.serve.http.metrics import Metrics
from quickalign.serve.http.replica import Replica
from quickalign.serve.process import Child, ProcessEngine
from quickalign.serve.proof import (
    PROBE_TOKENS,
    Check,
    Proof,
    check_base,
    check_greedy,
    check_prompts,
    check_stream,
    probe_prompts,
)
from quickalign.serve.source import Served, find
from quickalign.serve.spec import ServeSpec, all_tokens

Ready = Callable[[dict[str, Any]], None]
_log = logging.getLogger(__name__)
_CLOSE_SECONDS = 5
_BACKLOG = 2048


async def serve(spec: ServeSpec, child: Child, ready: Ready) -> None:
    """Serve `spec` until the process is told to end (SIGTERM, SIGINT).

    Args:
        spec: what to serve.
        child: the engine's process, which starts while this one still imports.
        ready: told once what is served and where.

    Raises:
        QuickalignError: it cannot be served, or the proof failed.
        EngineFailedError: the engine's process ended by itself.
    """
    started = time.monotonic()
    tokens = all_tokens(spec)
    with _bind(spec) as listener:
        served = await asyncio.to_thread(find, spec)
        prompts = await asyncio.to_thread(make_prompts, served, spec.system_prompt)
        engine = await _start(spec, child, served, prompts)
        try:
            name = spec.name or served.name
            replica = Replica(engine, prompts, name, Metrics(engine, name))
            app = make_app(replica, tokens=tokens, host=spec.host)
            server = _Server(app, listener, spec.drain_seconds)
            async with server.running(engine):
                endpoint = _endpoint(listener)
                proof = await _prove(spec, served, prompts, engine, endpoint, tokens)
                told = _description(name, served, engine, proof)
                ready(told | {"endpoint": endpoint, "seconds": round(time.monotonic() - started, 3)})
                await server.ended(engine)
        finally:
            await engine.close()


class _Server:
    """uvicorn on a socket of ours, ended by a signal or by its engine's end."""

    def __init__(self, app: Any, listener: socket.socket, drain_seconds: float) -> None:
        config = uvicorn.Config(
            app,
            http="httptools",
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
            date_header=False,
            backlog=_BACKLOG,
            timeout_graceful_shutdown=int(drain_seconds) + _CLOSE_SECONDS,
        )
        self._server = _Quiet(config)
        self._listener = listener
        self._drain = drain_seconds
        self._told_to_end = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def running(self, engine: ProcessEngine) -> _Running:
        """The server for the length of the block; open answers may finish behind it."""
        return _Running(self, engine)

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

    async def ended(self, engine: ProcessEngine) -> None:
        """Wait until the process is told to end.

        Raises:
            EngineFailedError: the engine failed first.
        """
        waits = [asyncio.create_task(self._told_to_end.wait()), asyncio.create_task(engine.failed.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
        if engine.failure is not None:
            raise EngineFailedError(engine.failure)

    async def stop(self, engine: ProcessEngine) -> None:
        """Take no more requests, and let open answers finish; those that last too long end with an error."""
        self._server.should_exit = True
        if self._task is None:
            return
        await asyncio.wait({self._task}, timeout=self._drain)
        engine.fail("The replica is shutting down.")
        with suppress(asyncio.CancelledError):
            await self._task


class _Running:
    def __init__(self, server: _Server, engine: ProcessEngine) -> None:
        self._server = server
        self._engine = engine

    async def __aenter__(self) -> None:
        await self._server.start()

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(self._engine)


class _Quiet(uvicorn.Server):
    """uvicorn without handlers for signals: `_Server` has them."""

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """Leave signals alone."""
        return nullcontext()


def _bind(spec: ServeSpec) -> socket.socket:
    """A socket of our own, so that a port is taken once and known before anything is loaded."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            spec.host, spec.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise OptionError(
            f"The endpoint {spec.host}:{spec.port} cannot be opened: {error.strerror or error}.",
            "Choose another port; 0 takes a free one.",
        ) from None
    listener.setblocking(False)
    return listener


def _endpoint(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _start(spec: ServeSpec, child: Child, served: Served, prompts: Prompts) -> ProcessEngine:
    """Let the engine load; where the choice is ours and it cannot compute this model, the one that always can does."""
    try:
        return await ProcessEngine.start(
            child, _load(child.engine, spec, served, prompts), max_waiting=spec.max_waiting
        )
    except EngineCannotError as error:
        if spec.engine != "auto" or child.engine == FALLBACK:
            raise
        _log.warning("engine=%s cannot serve this, so engine=%s does: %s", child.engine, FALLBACK, error)
    return await ProcessEngine.start(
        Child(FALLBACK), _load(FALLBACK, spec, served, prompts), max_waiting=spec.max_waiting
    )


def _load(engine: str, spec: ServeSpec, served: Served, prompts: Prompts) -> Load:
    trained = (served.trained_precision,) if spec.precision == "auto" and served.trained_precision else ()
    return Load(
        engine=engine,
        weights=str(served.weights),
        adapter=None if served.adapter is None else str(served.adapter),
        quantization=served.quantization,
        precisions=(*trained, spec.precision),
        slots=spec.max_concurrency,
        context=spec.context,
        compression=spec.weights,
        probes=probe_prompts(prompts) if spec.prove else (),
        probe_tokens=PROBE_TOKENS,
        cache_bytes=int(spec.cache_gb * 1e9),
    )


async def _prove(
    spec: ServeSpec,
    served: Served,
    prompts: Prompts,
    engine: ProcessEngine,
    endpoint: str,
    tokens: tuple[str, ...],
) -> Proof | None:
    if not spec.prove:
        return None
    ends = prompts.end_tokens(engine.info.end_tokens)
    checks: list[Check] = [
        check_prompts(served, prompts, engine),
        check_base(served),
        await check_greedy(engine, ends),
        await check_stream(endpoint, tokens[0] if tokens else None),
    ]
    proof = Proof(checks=tuple(checks))
    proof.demand()
    return proof


def _description(name: str, served: Served, engine: ProcessEngine, proof: Proof | None) -> dict[str, Any]:
    info = engine.info
    return {
        "model": name,
        "base": served.base,
        "pid": os.getpid(),
        "engine_pid": engine.pid,
        "engine": info.engine,
        "device": info.device,
        "precision": info.precision,
        "adapter": info.adapter,
        "context": info.context,
        "weights_bytes": info.weights_bytes,
        "limit": engine.capacity,
        "proof": None if proof is None else proof.model_dump(mode="json")["checks"],
    }
