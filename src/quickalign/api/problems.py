"""Every error as an answer: problem documents as of RFC 9457, or the OpenAI shape below `/v1`.

No traceback leaves the server. What nobody foresaw becomes a 500 with the request's id, under which the log has it all.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, get_args

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from quickalign.api.logs import request_id
from quickalign.api.openai import errors as openai_errors
from quickalign.core import disk, errors
from quickalign.core.errors import QuickalignError
from quickalign.core.wire.base import Problem
from quickalign.core.wire.jobs import Kind
from quickalign.serve.http.errors import ApiError

MEDIA_TYPE = "application/problem+json"
_LOG = logging.getLogger("quickalign.api")
_LONGEST_VALUE = 200

_STATUS: dict[type[QuickalignError], int] = {
    errors.NotFoundError: 404,
    errors.ConflictError: 409,
    errors.TooLargeError: 413,
    errors.AccessError: 403,
    errors.UnavailableError: 503,
    errors.OptionError: 422,
    errors.DataError: 422,
    errors.ModelError: 422,
    errors.CapacityError: 422,
    errors.RunError: 422,
    errors.QualityError: 422,
    errors.Interrupted: 503,
}
_HTTP_CODES = {413: "too-large", 416: "range"}
_HTTP_REMEDIES = {
    400: "Correct the request; the reference at /api/v1/openapi.json says what it must look like.",
    404: "The reference at /api/v1/openapi.json lists all paths.",
    405: "Use one of the methods that the Allow header names.",
    413: "Send less.",
    416: "Correct the Range header, or leave it out.",
}


def of_error(error: QuickalignError) -> Problem:
    """The problem document of an error of ours."""
    status = next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), None)
    if status is None:
        # A storage error about a part of the request is the caller's; any other is about the server's own disk.
        status = 422 if isinstance(error, errors.StorageError) and error.field else 503
    return problem(status, code_of(error), error.message, error.remedy, error.field, error.value)


def full_disk() -> errors.StorageError:
    """What a request is told that finds no room."""
    return errors.StorageError("A disk of the server is full.", "Let the operator make room; nothing was lost.")


def problem(
    status: int, code: str, detail: str, remedy: str | None = None, field: str | None = None, value: Any = None
) -> Problem:
    """A problem document; `value` is shortened."""
    return Problem(
        type=f"urn:quickalign:problem:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=_plain(detail),
        field=None if field is None else _plain(field),
        value=None if value is None else shortened(value),
        remedy=None if remedy is None else _plain(remedy),
    )


def code_of(error: QuickalignError) -> str:
    """`not-found` for a `NotFoundError`."""
    name = type(error).__name__.removesuffix("Error")
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


def shortened(value: Any) -> str:
    """A value as people recognise it, not too long."""
    text = value if isinstance(value, str) else repr(value)
    return _plain(text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}...")


def respond(path: str, found: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """The answer to a request for `path` that ended with the problem `found`."""
    if is_dialect(path):
        return openai_errors.respond(found, headers)
    body = found.model_dump_json(exclude_none=True)
    return Response(body, status_code=found.status, media_type=MEDIA_TYPE, headers=dict(headers or {}))


def is_dialect(path: str) -> bool:
    """Whether `path` is one of the OpenAI dialect's, or of a service that speaks it."""
    return path == "/v1" or path.startswith(("/v1/", "/services/"))


def install(app: FastAPI) -> None:
    """Let `app` answer all errors by `respond`."""
    app.add_exception_handler(QuickalignError, _on_error)
    app.add_exception_handler(ApiError, _on_api_error)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)


def internal(path: str, error: Exception) -> Response:
    """The answer to a request that failed for a reason nobody foresaw; the log gets the traceback.

    A full disk may be met anywhere, and is foreseen.
    """
    if disk.is_full(error):
        return respond(path, of_error(full_disk()))
    _LOG.error("unexpected error", exc_info=error, extra={"fields": {"path": path}})
    found = problem(
        500,
        "internal",
        f"The server failed in a way that was not foreseen ({type(error).__name__}).",
        f"The server's log has the details under the request id {request_id()}.",
    )
    return respond(path, found)


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, QuickalignError)
    found = of_error(error)
    if found.status >= 500:
        _LOG.warning("refused", extra={"fields": {"error": str(error)}})
    headers = {"Retry-After": "5"} if found.status == 503 else {}
    if found.status == 413:
        headers["Connection"] = "close"
    return respond(request.url.path, found, headers)


async def _on_api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error.response()


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405 and request.method == "OPTIONS":
        return Response(status_code=204, headers=error.headers)
    code = _HTTP_CODES.get(error.status_code) or HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    detail = _http_detail(request, error)
    remedy = None if is_dialect(request.url.path) else _HTTP_REMEDIES.get(error.status_code)
    found = problem(error.status_code, code, detail, remedy)
    return respond(request.url.path, found, error.headers)


def _http_detail(request: Request, error: HTTPException) -> str:
    path = shortened(request.url.path)
    match error.status_code:
        case 404:
            return f"There is no {path} here."
        case 405:
            return f"{path} cannot be used with {request.method}."
        case _:
            return f"{error.detail.rstrip('.')}."


async def _on_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return respond(request.url.path, of_validation(error.errors()))


def of_validation(found: Sequence[Any]) -> Problem:
    """The first of pydantic's errors as a problem document, with the number of the others."""
    first = found[0]
    inside = first["loc"][1:]
    if first["loc"][0] == "body" and inside and inside[0] in get_args(Kind):  # the alternative that pydantic took
        inside = inside[1:]
    where = ".".join(str(part) for part in inside) or str(first["loc"][0])
    others = f" {len(found) - 1} more like this." if len(found) > 1 else ""
    if first["type"] == "json_invalid":
        reason = first.get("ctx", {}).get("error", "")
        return problem(400, "bad-request", f"The body is no valid JSON: {reason}.", "Send one JSON object.")
    if isinstance(first.get("input"), bytes):  # it was not even read as JSON
        told = "Send the header `Content-Type: application/json`."
        return problem(422, "option", "The body is not declared as JSON.", told, field="Content-Type")
    message = str(first["msg"]).rstrip(".")
    return problem(
        422,
        "option",
        f"{where}: {message[:1].lower()}{message[1:]}.{others}",
        _remedy(first["type"]),
        field=where,
        value=None if first["type"] == "missing" else first.get("input"),
    )


def _remedy(kind: str) -> str:
    match kind:
        case "missing":
            return "Add it."
        case "extra_forbidden":
            return "Leave it out; the reference at /api/v1/openapi.json lists all fields."
        case _:
            return "The reference at /api/v1/openapi.json says what it may be."


async def _on_disconnect(request: Request, error: Exception) -> Response:
    """Nobody is there to read it, but the log and the figures get a status."""
    found = problem(400, "bad-request", "The connection was lost before the whole body arrived.", "Send it again.")
    return respond(request.url.path, found)


def _plain(text: str) -> str:
    """`text` as valid Unicode, which what arrived need not be."""
    return text.encode("utf-8", "replace").decode()
