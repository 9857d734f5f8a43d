"""The endpoint: OpenAI's paths over one model, with its health and its counters."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.responses import Response
from starlette.types import ASGIApp

from quickalign.serve.http.body import ChatBody, CompletionBody
from quickalign.serve.http.chat import complete_chat
from quickalign.serve.http.completions import complete_text
from quickalign.serve.http.door import Door
from quickalign.serve.http.errors import add_handlers
from quickalign.serve.http.replica import Replica
from quickalign.serve.http.respond import CLIENT_CLOSED_REQUEST, ClientGoneError
from quickalign.serve.http.shapes import respond_json

REFERENCE = "#/components/schemas/{model}"


def make_app(replica: Replica, *, tokens: Sequence[str], host: str) -> ASGIApp:
    """The ASGI application of a replica that listens at `host` and opens to `tokens`."""
    app = FastAPI(title="quickalign replica", docs_url=None, redoc_url=None)
    add_handlers(app)
    _add_completions(app, replica)
    _add_models(app, replica)
    _add_health(app, replica)
    app.openapi = partial(_document, app)  # type: ignore[method-assign]
    return Door(app, tokens=tokens, host=host, metrics=replica.metrics)


def _add_completions(app: FastAPI, replica: Replica) -> None:
    @app.post("/v1/chat/completions", openapi_extra=_takes(ChatBody))
    async def chat_completions(request: Request) -> Response:
        try:
            return await complete_chat(replica, request)
        except ClientGoneError:
            return Response(status_code=CLIENT_CLOSED_REQUEST)

    @app.post("/v1/completions", openapi_extra=_takes(CompletionBody))
    async def completions(request: Request) -> Response:
        try:
            return await complete_text(replica, request)
        except ClientGoneError:
            return Response(status_code=CLIENT_CLOSED_REQUEST)


def _add_models(app: FastAPI, replica: Replica) -> None:
    def shown() -> dict[str, Any]:
        info = replica.engine.info
        return {
            "id": replica.name,
            "object": "model",
            "created": replica.created,
            "owned_by": "quickalign",
            "max_model_len": info.context,
            "engine": info.engine,
            "precision": info.precision,
        }

    @app.get("/v1/models")
    async def models() -> Response:
        return respond_json({"object": "list", "data": [shown()]})

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> Response:
        replica.check_name(name)
        return respond_json(shown())


def _add_health(app: FastAPI, replica: Replica) -> None:
    @app.get("/health")
    async def health() -> Response:
        engine = replica.engine
        if engine.failure is not None:
            return respond_json({"status": "failed", "reason": engine.failure}, 503)
        return respond_json({"status": "ok", "open_answers": engine.running, "limit": engine.capacity})

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(replica.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _takes(kind: type[BaseModel]) -> dict[str, Any]:
    """Points to the schema of a body that is read and checked by hand."""
    schema = {"$ref": REFERENCE.format(model=kind.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with the bodies that `_takes` points to."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, routes=app.routes)
        _, bodies = models_json_schema(
            [(kind, "validation") for kind in (ChatBody, CompletionBody)], ref_template=REFERENCE
        )
        document.setdefault("components", {}).setdefault("schemas", {}).update(bodies["$defs"])
        app.openapi_schema = document
    return app.openapi_schema
