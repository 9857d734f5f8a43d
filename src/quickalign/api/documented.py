"""Parts of the OpenAPI schema that operations share: their refusals, their examples."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from quickalign.api.problems import MEDIA_TYPE, problem
from quickalign.core.wire.base import Problem

Responses = dict[int | str, dict[str, Any]]

_ALWAYS = (400, 403)
_MEANINGS = {
    400: ("bad-request", "The request cannot be read.", "Correct it."),
    401: ("access", "The request brings no token.", "Send `Authorization: Bearer <token>`."),
    403: ("access", "This server may not read or write there, or is not called from there.", "See the detail."),
    404: ("not-found", "There is no job 'job-b'.", "`quickalign jobs list` shows them all."),
    408: ("request-timeout", "Nothing of the body arrived for 60 s.", "Send it again."),
    409: ("conflict", "The job is succeeded and cannot be paused.", "`quickalign jobs show` says how it stands."),
    413: ("too-large", "The body has more than the 4,194,304 bytes allowed here.", "Send less."),
    416: (
        "range",
        "The file has 9 bytes, and the range lies outside of it.",
        "Correct the Range header, or leave it out.",
    ),
    422: ("option", "There is no option 'beta'.", "It is called 'dpo_beta' here."),
    503: ("unavailable", "The database is busy.", "Try again."),
}


def refusals(*statuses: int) -> Responses:
    """Documents the refusals of an operation, besides those that every operation may give."""
    return {status: _refusal(status) for status in sorted({*_ALWAYS, *statuses})}


def guarded(*statuses: int) -> Responses:
    """Likewise for an operation that needs a token and the database."""
    return refusals(401, 422, 503, *statuses)


def _refusal(status: int) -> dict[str, Any]:
    code, detail, remedy = _MEANINGS[status]
    example = problem(status, code, detail, remedy).model_dump(exclude_none=True)
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    return {"description": detail, "content": {MEDIA_TYPE: {"schema": schema, "example": example}}}


def shown(example: BaseModel, status: int = 200, description: str = "Done.") -> Responses:
    """Documents what an operation answers, by an example."""
    content = {"application/json": {"example": example.model_dump(mode="json")}}
    return {status: {"description": description, "content": content}}


def stream_of(what: str) -> Responses:
    """Documents an answer of server-sent events."""
    content = {"text/event-stream": {"schema": {"type": "string"}}}
    return {200: {"description": f"{what} `event: end` closes the stream.", "content": content}}


def bytes_of(what: str) -> Responses:
    """Documents an answer of bytes, whole or in part."""
    content = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    return {
        200: {"description": what, "content": content},
        206: {"description": "The part that the Range header asks for.", "content": content},
    }


def with_problem(schema: Mapping[str, Any]) -> dict[str, Any]:
    """`schema` with the problem document that the refusals refer to, and the way a token is sent."""
    whole: dict[str, Any] = dict(schema)
    components = whole.setdefault("components", {})
    components.setdefault("schemas", {})[Problem.__name__] = Problem.model_json_schema()
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, operations in whole["paths"].items():
        for operation in operations.values():
            operation["security"] = [{"token": []}] if "401" in operation["responses"] else []
            if path.startswith("/api/") or path == "/metrics":
                operation["responses"].pop("default", None)
    return whole
