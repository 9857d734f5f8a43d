"""A service on the cluster from its application's deployment to its end."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from typing import Any

from quickalign.cluster import service_refusal as refusal
from quickalign.cluster import service_watch as watching
from quickalign.cluster.service_application import Application, Standing
from quickalign.cluster.service_front import Front
from quickalign.cluster.service_metrics import Metrics
from quickalign.cluster.service_spec import ServiceSpec
from quickalign.serve.checks import Check, Proof, check_stream
from quickalign.serve.http.door import Door
from quickalign.serve.listening import Server, bind, endpoint_of
from quickalign.serve.spec import all_tokens

Ready = Callable[[dict[str, Any]], None]
_LOOK_SECONDS = 0.3
_END_SECONDS = 8.0
_log = logging.getLogger(__name__)


class NotDeployedError(Exception):
    """Ray Serve gave the application up, for a reason that no replica has told."""


async def live(spec: ServiceSpec, ready: Ready) -> None:
    """Serve `spec` until the process is told to end.

    Raises:
        QuickalignError: it cannot be served, or the proof failed. EngineFailedError: the application or its cluster was
            lost. NotDeployedError: the cluster could not bring it up.
    """
    tokens = all_tokens(spec)
    application, metrics = Application(spec), Metrics(spec.name or spec.model)
    limit = spec.capacity * spec.autoscaling.max
    front = Front(application, metrics, limit=limit, wait_seconds=spec.wait_seconds)
    with bind(spec.host, spec.port) as listener:
        server = Server(Door(front, tokens=tokens, host=spec.host, metrics=metrics), listener, spec.drain_seconds)
        keeping = asyncio.create_task(watching.beat(spec.application))
        try:
            async with server.running(front):
                told = asyncio.create_task(server.ended(front))
                starting = asyncio.create_task(_start(spec, application, front, endpoint_of(listener), tokens))
                await asyncio.wait({told, starting}, return_when=asyncio.FIRST_COMPLETED)
                if not starting.done():
                    starting.cancel()
                    return
                ready(starting.result())
                watch = asyncio.create_task(watching.watch(application, front))
                await told
                watch.cancel()
        finally:
            await _end(spec, application, keeping)


async def _start(
    spec: ServiceSpec, application: Application, front: Front, endpoint: str, tokens: tuple[str, ...]
) -> dict[str, Any]:
    """Deploy, and wait until a replica has proved itself and answers through the endpoint; returns what is told."""
    began = time.monotonic()
    if spec.refusal_file is not None:
        spec.refusal_file.unlink(missing_ok=True)
    await application.deploy()
    await _until_running(spec, application)
    told = await application.describe()
    if told["proof"] is not None:
        checks = [Check.model_validate(one) for one in told["proof"]]
        proof = Proof(checks=(*checks, await check_stream(endpoint, tokens[0] if tokens else None)))
        proof.demand()
        told |= {"proof": proof.told()}
    front.ready = True
    own = {"pid": os.getpid(), "limit": told["limit"] * spec.autoscaling.max, "endpoint": endpoint}
    return told | own | {"seconds": round(time.monotonic() - began, 3)}


async def _until_running(spec: ServiceSpec, application: Application) -> None:
    while True:
        seen = await application.look()
        if spec.refusal_file is not None and (refused := refusal.read(spec.refusal_file)) is not None:
            raise refused
        if seen.standing is Standing.RUNNING and seen.running:
            return
        if seen.standing is Standing.FAILED:
            raise NotDeployedError(watching.last_line(seen.message))
        await asyncio.sleep(_LOOK_SECONDS)


async def _end(spec: ServiceSpec, application: Application, keeping: asyncio.Task[None]) -> None:
    """Take the application away. Where that cannot be done in time its keeper does it, if there still is one."""
    keeping.cancel()
    try:
        async with asyncio.timeout(_END_SECONDS):
            await application.delete()
            await watching.forget(spec.application)
    except Exception as error:
        _log.warning("%s is left to its keeper: %s", spec.application, str(error) or type(error).__name__)
