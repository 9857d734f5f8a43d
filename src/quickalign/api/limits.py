"""How much of a request is read, and how long the server waits for it."""

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
from fastapi import HTTPException, Request
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from quickalign.api.parts import Part
from quickalign.api.problems import problem, respond
from quickalign.core.errors import OptionError

MAX_JSON_BYTES = 4 << 20
IDLE_SECONDS = 60.0
_UPLOADS = ("/api/v1/files", "/v1/files")
_OVERHEAD = 1 << 20
"""What a multipart body may have besides its file."""


class Limits:
    """Refuses bodies that are too large, and gives up on those that stop arriving.

    Uploads may have `max_upload` bytes, all other bodies 4 MiB. With `every_body` every body is an upload.
    """

    def __init__(
        self,
        app: ASGIApp,
        max_upload: int,
        idle_seconds: float = IDLE_SECONDS,
        *,
        parts: Sequence[Part] = (),
        every_body: bool = False,
    ) -> None:
        self._app, self._max_upload, self._idle, self._every = app, max_upload, idle_seconds, every_body
        self._uploads = frozenset((*_UPLOADS, *(path for part in parts for path in part.uploads)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        upload = self._every or (scope["method"] == "POST" and scope["path"] in self._uploads)
        limit = self._max_upload + _OVERHEAD if upload else MAX_JSON_BYTES
        announced = _announced(scope)
        if announced is not None and announced > limit:
            await _too_large(scope["path"], limit)(scope, receive, send)
            return
        await self._app(scope, self._bounded(receive, limit), send)

    def _bounded(self, receive: Receive, limit: int) -> Receive:
        taken, whole = 0, False

        async def bounded() -> Message:
            nonlocal taken, whole
            if whole:  # the next message is the end of the connection, for which streams wait
                return await receive()
            try:
                async with asyncio.timeout(self._idle):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, f"Nothing of the body arrived for {self._idle:.0f} s", _CLOSE) from None
            taken += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if taken > limit:
                raise HTTPException(413, f"The body has more than the {limit:,} bytes allowed here", _CLOSE)
            return message

        return bounded


_CLOSE = {"Connection": "close"}


def _too_large(path: str, limit: int) -> Response:
    found = problem(
        413, "too-large", f"The body has more than the {limit:,} bytes allowed here.", "Send less.", field="body"
    )
    return respond(path, found, _CLOSE)


def _announced(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return None


class _StrictRequest(Request):
    """A request whose JSON must be what RFC 8259 says: no NaN, no halves of characters; and without NUL characters."""

    async def json(self) -> Any:
        """The body."""
        if not hasattr(self, "_json"):
            body = await self.body()
            self._json = orjson.loads(body)
            if b"\\u0000" in body and _has_nul(self._json):
                raise orjson.JSONDecodeError("a text holds the character NUL, which cannot be stored", "", 0)
        return self._json


def _has_nul(value: Any) -> bool:
    match value:
        case str():
            return "\0" in value
        case list():
            return any(map(_has_nul, value))
        case dict():
            return any("\0" in key or _has_nul(item) for key, item in value.items())
        case _:
            return False


class StrictRoute(APIRoute):
    """A route that reads JSON strictly."""

    def get_route_handler(self) -> Any:
        """See `APIRoute`."""
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handler(_StrictRequest(request.scope, request.receive))

        return strict


class NativeRoute(StrictRoute):
    """Likewise, and a name in the query that the operation does not have is refused: a filter that is misspelt would
    otherwise find everything."""

    def get_route_handler(self) -> Any:
        """See `APIRoute`."""
        handler = super().get_route_handler()
        known = tuple(field.alias for field in self.dependant.query_params)

        async def strict(request: Request) -> Response:
            check_query(request, known)
            answer: Response = await handler(request)
            return answer

        return strict


def check_query(request: Request, known: Sequence[str]) -> None:
    """Refuse what is in the query and none of the `known` names.

    Raises:
        OptionError: names the first.
    """
    for name, value in request.query_params.multi_items():
        if name not in known:
            raise OptionError(
                f"{request.url.path} has no {name[:100]!r} in its query.",
                f"Use {', '.join(known)}." if known else "Leave it out.",
                field=name[:100],
                value=value,
            )
