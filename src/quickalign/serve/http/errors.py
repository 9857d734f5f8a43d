"""Errors in OpenAI's form: `{"error": {"message", "type", "param", "code"}}` and the status that belongs to them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ExceptionHandler

from quickalign.core.errors import QuickalignError
from quickalign.serve.engine import EngineBusyError, EngineFailedError

_log = logging.getLogger(__name__)
_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_CODES = {404: "not_found", 405: "method_not_allowed"}
_SERVER = 500


class ApiError(Exception):
    """What a request is refused with."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.headers = dict(headers or {})
        super().__init__(message)

    @property
    def body(self) -> dict[str, Any]:
        """The error in OpenAI's form."""
        kind = _TYPES.get(self.status, "server_error" if self.status >= _SERVER else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> Response:
        """The error as an HTTP response."""
        return Response(orjson.dumps(self.body), self.status, self.headers, media_type="application/json")


def bad_value(message: str, param: str | None = None, code: str = "invalid_value") -> ApiError:
    """A request that cannot be honoured as it is."""
    return ApiError(400, message, code=code, param=param)


def from_exception(error: Exception) -> ApiError:
    """The refusal or failure that `error` means to a client."""
    match error:
        case ApiError():
            return error
        case EngineBusyError():
            after = {"Retry-After": str(error.retry_after)}
            return ApiError(429, str(error), code="rate_limit_exceeded", headers=after)
        case EngineFailedError():
            return ApiError(503, str(error), code="engine_failed")
        case QuickalignError():
            return bad_value(str(error), error.field)
        case HTTPException():
            headers = dict(error.headers or {})
            return ApiError(error.status_code, error.detail, code=_CODES.get(error.status_code), headers=headers)
    _log.exception("A request failed.", exc_info=error)
    return ApiError(500, "The replica failed at this request; its log says why.", code="internal_error")


def from_validation(error: ValidationError) -> ApiError:
    """The first thing that is wrong with a body."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    if first["type"] == "json_invalid":
        return bad_value(f"The body is not valid JSON: {first['msg'].removeprefix('Invalid JSON: ')}.", code="bad_json")
    where = _path(first["loc"])
    if first["type"] == "missing":
        return bad_value(f"{where} is missing.", where, "missing_required_parameter")
    kind = "invalid_type" if first["type"].endswith(("_type", "_parsing")) else "invalid_value"
    message = first["msg"].removeprefix("Value error, ")
    return bad_value(f"{where}: {message}." if where else f"{message}.", where or None, kind)


async def _handle(_: Request, error: Exception) -> Response:
    return from_exception(error).response()


HANDLERS: dict[Any, ExceptionHandler] = dict.fromkeys((ApiError, QuickalignError, HTTPException, Exception), _handle)
"""For an application that answers every error in OpenAI's form."""


def _path(parts: tuple[int | str, ...]) -> str:
    """`("messages", 0, "role")` -> `messages[0].role`."""
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
