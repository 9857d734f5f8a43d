"""The endpoint of a service on the cluster: one address before all of its replicas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Protocol

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from quickalign.cluster.service_messages import Asked, Headers, Told
from quickalign.cluster.service_metrics import Metrics
from quickalign.cluster.service_passing import Passing
from quickalign.serve.http.door import MOST_BYTES
from quickalign.serve.http.errors import ApiError
from quickalign.serve.http.shapes import respond_json

_PASSED_ON = frozenset({b"content-type", b"x-request-id"})
_HOST = (b"host", b"127.0.0.1")
"""What replicas are asked as: nothing listens at them, so that every request comes from this machine's own name."""


class Replicas(Protocol):
    """The replicas of a service, wherever they are."""

    @property
    def running(self) -> int:
        """How many can answer."""

    def ask(self, asked: Asked) -> AsyncGenerator[Told, None]:
        """What one of them tells, from its arrival there to the end; closing it stops the answer.

        Raises:
            LostError: it went away. FullError: too many requests wait already.
        """


class Front:
    """The ASGI application. The door is before it, replicas are behind it.

    Args:
        replicas: who answers.
        metrics: what is counted.
        limit: the most answers that all replicas together make and keep waiting.
        wait_seconds: how long a request waits until a replica takes it.
    """

    def __init__(self, replicas: Replicas, metrics: Metrics, *, limit: int, wait_seconds: float) -> None:
        self.replicas, self.metrics, self.wait_seconds = replicas, metrics, wait_seconds
        self.failed = asyncio.Event()
        self.failure: str | None = None
        self.ready = False
        self.open: set[asyncio.Future[None]] = set()
        self._limit = limit
        metrics.show("open_answers", "Answers that are made or wait.", lambda: len(self.open))
        metrics.show("open_answers_limit", "The most open answers of all replicas.", lambda: limit)
        metrics.show("cluster_replicas", "Replicas that can answer.", lambda: replicas.running)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        try:
            response = await self._response(Request(scope, receive))
        except ApiError as error:
            response = error.response()
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    def fail(self, reason: str) -> None:
        """End every open answer with an error, and take no more requests."""
        if self.failure is None:
            self.failure = reason
        for work in tuple(self.open):
            work.cancel()
        self.failed.set()

    async def _response(self, request: Request) -> Response:
        path = request.url.path
        if path == "/health":
            return self._health()
        if path == "/metrics":
            return Response(self.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
        headers: Headers = (_HOST, *((name, value) for name, value in request.headers.raw if name in _PASSED_ON))
        body = await _body(request)
        return Passing(self, Asked(request.method, path, request.scope["query_string"], headers, body))

    def _health(self) -> Response:
        if self.failure is not None:
            return respond_json({"status": "failed", "reason": self.failure}, 503)
        if not self.ready:
            return respond_json({"status": "starting"}, 503)
        told = {"status": "ok", "open_answers": len(self.open), "limit": self._limit}
        return respond_json(told | {"replicas": self.replicas.running})


async def _body(request: Request) -> bytes:
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MOST_BYTES:
            raise ApiError(413, f"The body is larger than {MOST_BYTES} bytes.", code="too_large")
    return bytes(raw)
