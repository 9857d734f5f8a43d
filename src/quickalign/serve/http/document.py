"""The OpenAPI document of a replica, for clients and fuzzers that read one."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from quickalign import __version__
from quickalign.serve.http.body import ChatBody, CompletionBody

_REFERENCE = "#/components/schemas/{model}"
_NAME = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}


def document() -> dict[str, Any]:
    """What a replica answers, in OpenAPI's form."""
    _, bodies = models_json_schema(
        [(kind, "validation") for kind in (ChatBody, CompletionBody)], ref_template=_REFERENCE
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "quickalign replica", "version": __version__},
        "paths": {
            "/v1/chat/completions": {"post": _asks("Answer a chat.", ChatBody)},
            "/v1/completions": {"post": _asks("Go on from a text or from token ids.", CompletionBody)},
            "/v1/models": {"get": _tells("The model.")},
            "/v1/models/{name}": {"get": _tells("The model by its name.") | {"parameters": [_NAME]}},
            "/health": {"get": _tells("Whether answers can be made.")},
            "/metrics": {"get": _tells("Figures for Prometheus.", "text/plain")},
        },
        "components": {"schemas": bodies["$defs"]},
    }


def _tells(summary: str, kind: str = "application/json") -> dict[str, Any]:
    answer = {"description": "As asked.", "content": {kind: {"schema": {}}}}
    return {"summary": summary, "responses": {"200": answer}}


def _asks(summary: str, kind: type[BaseModel]) -> dict[str, Any]:
    """A path whose body is read and checked by hand."""
    schema = {"$ref": _REFERENCE.format(model=kind.__name__)}
    return _tells(summary) | {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
