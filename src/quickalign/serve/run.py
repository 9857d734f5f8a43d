"""One replica from its specification to its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from quickalign.serve.checks import Proof, check_stream
from quickalign.serve.listening import Server, bind, endpoint_of
from quickalign.serve.opening import Opened, open_replica
from quickalign.serve.process import Child
from quickalign.serve.spec import ServeSpec, all_tokens

Ready = Callable[[dict[str, Any]], None]


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
    with bind(spec.host, spec.port) as listener:
        opened = await open_replica(spec, child, tokens)
        try:
            server = Server(opened.app, listener, spec.drain_seconds)
            async with server.running(opened.engine):
                endpoint = endpoint_of(listener)
                proof = await _prove(opened, endpoint, tokens) if spec.prove else None
                told = opened.description() | {"proof": proof and proof.told(), "endpoint": endpoint}
                ready(told | {"seconds": round(time.monotonic() - started, 3)})
                await server.ended(opened.engine)
        finally:
            await opened.engine.close()


async def _prove(opened: Opened, endpoint: str, tokens: tuple[str, ...]) -> Proof:
    checks = await opened.checks()
    proof = Proof(checks=(*checks, await check_stream(endpoint, tokens[0] if tokens else None)))
    proof.demand()
    return proof
