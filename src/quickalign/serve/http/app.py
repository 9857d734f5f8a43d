"""The endpoint: OpenAI's paths over one model, with its health and its counters.

It is Starlette's alone: bodies are read and checked by hand, and FastAPI's way to a function that takes the request as
it is would be a quarter of all that a short answer costs here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from quickalign.serve.http.chat import complete_chat
from quickalign.serve.http.completions import complete_text
from quickalign.serve.http.document import document
from quickalign.serve.http.door import Door
from quickalign.serve.http.errors import HANDLERS
from quickalign.serve.http.replica import Replica
from quickalign.serve.http.respond import CLIENT_CLOSED_REQUEST, ClientGoneError
from quickalign.serve.http.shapes import respond_json


def make_app(replica: Replica, *, tokens: Sequence[str], host: str) -> ASGIApp:
    """The ASGI application of a replica that listens at `host` and opens to `tokens`."""
    shown = _Shown(replica)
    routes = [
        Route("/v1/chat/completions", partial(_answer, complete_chat, replica), methods=["POST"]),
        Route("/v1/completions", partial(_answer, complete_text, replica), methods=["POST"]),
        Route("/v1/models", shown.models),
        Route("/v1/models/{name:path}", shown.model),
        Route("/health", shown.health),
        Route("/metrics", shown.metrics),
        Route("/openapi.json", shown.document),
    ]
    app = Starlette(routes=routes, exception_handlers=HANDLERS)
    return Door(app, tokens=tokens, host=host, metrics=replica.metrics)


async def _answer(
    complete: Callable[[Replica, Request], Awaitable[Response]], replica: Replica, request: Request
) -> Response:
    """The answer to a request, or to nobody."""
    try:
        return await complete(replica, request)
    except ClientGoneError:
        return Response(status_code=CLIENT_CLOSED_REQUEST)


class _Shown:
    """What is told of the replica itself."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    async def models(self, _: Request) -> Response:
        """The one model."""
        return respond_json({"object": "list", "data": [self._model()]})

    async def model(self, request: Request) -> Response:
        """The model by one of its names."""
        self._replica.check_name(request.path_params["name"])
        return respond_json(self._model())

    async def health(self, _: Request) -> Response:
        """Whether answers can be made, and how many are open."""
        engine = self._replica.engine
        if engine.failure is not None:
            return respond_json({"status": "failed", "reason": engine.failure}, 503)
        return respond_json({"status": "ok", "open_answers": engine.running, "limit": engine.capacity})

    async def metrics(self, _: Request) -> Response:
        """The counters."""
        return Response(self._replica.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def document(self, _: Request) -> Response:
        """The OpenAPI document."""
        return respond_json(document())

    def _model(self) -> dict[str, Any]:
        info = self._replica.engine.info
        return {
            "id": self._replica.name,
            "object": "model",
            "created": self._replica.created,
            "owned_by": "quickalign",
            "max_model_len": info.context,
            "engine": info.engine,
            "precision": info.precision,
        }
