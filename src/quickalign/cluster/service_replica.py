"""One replica of a service: what `quickalign.serve` serves, inside an actor of Ray Serve.

Its engine has a process of its own, as everywhere, which ends when this one does.
"""

# ruff: noqa: PLC0415 - a replica's parts are imported when PyTorch is left out, and not by the program that deploys it

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from quickalign.cluster import service_refusal as refusal
from quickalign.cluster import service_spec as specs
from quickalign.cluster.service_calling import call
from quickalign.cluster.service_messages import Arrived, Asked, Told
from quickalign.core.errors import QuickalignError

if TYPE_CHECKING:
    from quickalign.cluster.service_spec import ServiceSpec
    from quickalign.serve.opening import Opened


class ModelReplica:
    """What Ray Serve makes, asks, and ends. It is ready when its constructor is over, and has proved itself then."""

    async def __init__(self, values: dict[str, Any]) -> None:  # type: ignore[misc]  # Ray Serve awaits it
        """Bring up what the specification with these values names."""
        spec = specs.parse(values)
        try:
            self._opened = await _open(spec)
            self._description = await _described(self._opened, prove=spec.prove)
        except QuickalignError as error:
            if spec.refusal_file is not None:
                await asyncio.to_thread(refusal.write, spec.refusal_file, error)
            raise

    async def describe(self) -> dict[str, Any]:
        """What it serves, and what it has proved."""
        return self._description

    async def ask(self, asked: Asked) -> AsyncGenerator[Told, None]:
        """Answer a request. Whoever leaves before the end stops what makes the answer."""
        yield Arrived()
        async with aclosing(call(self._opened.app, asked)) as answer:
            async for part in answer:
                yield part

    async def check_health(self) -> None:
        """Ask to be replaced where the engine is gone.

        Raises:
            RuntimeError: it is.
        """
        if self._opened.engine.failure is not None:
            raise RuntimeError(self._opened.engine.failure)


async def _open(spec: ServiceSpec) -> Opened:
    from quickalign.core.startup import leave_out

    leave_out("torch")  # the engine's process computes; this one has the tokenizer
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # that there is no PyTorch is as it should be
    from quickalign.serve.engines.registry import resolve_engine
    from quickalign.serve.process import Child

    child = Child(resolve_engine(spec.engine))
    try:
        from quickalign.serve.opening import open_replica

        return await open_replica(spec, child, ())
    except BaseException:
        child.end()
        raise


async def _described(opened: Opened, *, prove: bool) -> dict[str, Any]:
    if not prove:
        return opened.description() | {"proof": None}
    from quickalign.serve.checks import Proof

    proof = Proof(checks=tuple(await opened.checks()))
    try:
        proof.demand()
    except QuickalignError:
        await opened.engine.close()
        raise
    return opened.description() | {"proof": proof.told()}
