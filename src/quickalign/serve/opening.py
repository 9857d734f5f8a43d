"""Bringing a replica up: its model found, its engine loaded, its application made, and what it has to prove."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from starlette.types import ASGIApp

from quickalign.serve.chat import Prompts, make_prompts
from quickalign.serve.checks import PROBE_TOKENS, Check
from quickalign.serve.engine import EngineCannotError, Load
from quickalign.serve.engines.registry import FALLBACK
from quickalign.serve.engines.sharing import check_sharing
from quickalign.serve.http.app import make_app
from quickalign.serve.http.metrics import Metrics
from quickalign.serve.http.replica import Replica
from quickalign.serve.process import Child, ProcessEngine
from quickalign.serve.proof import check_base, check_greedy, check_prompts, probe_prompts
from quickalign.serve.source import Served, find
from quickalign.serve.spec import ServeSpec

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Opened:
    """A replica that can answer.

    Attributes:
        name: what requests call the model.
        app: the endpoint as an application, which somebody has to listen for.
    """

    name: str
    served: Served
    prompts: Prompts
    engine: ProcessEngine
    app: ASGIApp

    async def checks(self) -> list[Check]:
        """What can be proved without an endpoint: prompts, base weights, greedy answers."""
        return [
            check_prompts(self.served, self.prompts, self.engine),
            check_base(self.served),
            await check_greedy(self.engine, self.prompts.end_tokens(self.engine.info.end_tokens)),
        ]

    def description(self) -> dict[str, Any]:
        """What is served, and by what."""
        info = self.engine.info
        return {
            "model": self.name,
            "base": self.served.base,
            "pid": os.getpid(),
            "engine_pid": self.engine.pid,
            "engine": info.engine,
            "device": info.device,
            "precision": info.precision,
            "adapter": info.adapter,
            "context": info.context,
            "weights_bytes": info.weights_bytes,
            "limit": self.engine.capacity,
            "keeper": None if info.keeper is None else asdict(info.keeper),
        }


async def open_replica(spec: ServeSpec, child: Child, tokens: Sequence[str]) -> Opened:
    """Bring up what `spec` names. The engine's process ends with `close` of the engine.

    Args:
        child: the engine's process, which starts while this one still imports.
        tokens: what opens the application.

    Raises:
        QuickalignError: it cannot be served.
    """
    check_sharing(spec.share_base, child.engine)
    served = await asyncio.to_thread(find, spec)
    prompts = await asyncio.to_thread(make_prompts, served, spec.system_prompt)
    engine = await _start(spec, child, served, prompts)
    try:
        name = spec.name or served.name
        replica = Replica(engine, prompts, name, Metrics(engine, name), served.saved_at)
        app = make_app(replica, tokens=tokens, host=spec.host)
    except BaseException:
        await engine.close()
        raise
    return Opened(name, served, prompts, engine, app)


async def _start(spec: ServeSpec, child: Child, served: Served, prompts: Prompts) -> ProcessEngine:
    """Let the engine load; where the choice is ours and it cannot compute this model, the one that always can does."""
    try:
        return await ProcessEngine.start(
            child, _load(child.engine, spec, served, prompts), max_waiting=spec.max_waiting
        )
    except EngineCannotError as error:
        if spec.engine != "auto" or child.engine == FALLBACK:
            raise
        check_sharing(spec.share_base, FALLBACK)
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
        share_base=spec.share_base,
    )
