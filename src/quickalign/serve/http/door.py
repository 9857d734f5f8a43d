"""What every request passes first: the token, the host, the size of its body, a number to find it by, a count."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from quickalign.serve.http.errors import ApiError
from quickalign.serve.spec import LOOPBACK

MOST_BYTES = 32 << 20
_OPEN = frozenset({"/health"})
_COUNTED = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/models", "/health", "/metrics"})
_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")


class Counting(Protocol):
    """Where finished requests are counted."""

    def request(self, path: str, status: int) -> None:
        """Count a finished request."""


class Door:
    """ASGI middleware around the whole application.

    Args:
        app: what is behind it.
        tokens: one of them opens every path but /health; without any, only requests to this machine's own names do,
            so that no web page can reach the model through a name that it controls.
        host: the address that the replica listens at.
        metrics: where requests are counted.
    """

    def __init__(self, app: ASGIApp, *, tokens: Sequence[str], host: str, metrics: Counting) -> None:
        self._app = app
        self._digests = [_digest(token.encode()) for token in tokens]
        self._hosts = {*LOOPBACK, host}
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request in, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        number = _request_id(headers.get(b"x-request-id", b""))
        status = 499  # until the response begins

        async def tell(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", number.encode())]
            await send(message)

        refused = self._refusal(scope["path"], headers)
        try:
            if refused is not None:
                await refused.response()(scope, receive, tell)
            else:
                await self._app(scope, receive, tell)
        finally:
            path = scope["path"] if scope["path"] in _COUNTED else "other"
            self._metrics.request(path, status)

    def _refusal(self, path: str, headers: dict[bytes, bytes]) -> ApiError | None:
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > MOST_BYTES:
            return ApiError(413, f"The body has {int(length)} bytes; {MOST_BYTES} is the most.", code="too_large")
        if not self._digests:
            return self._foreign_host(headers.get(b"host", b""))
        if path in _OPEN or self._opens(headers.get(b"authorization", b"")):
            return None
        message = "The token is missing or wrong; send it as `Authorization: Bearer <token>`."
        return ApiError(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})

    def _opens(self, given: bytes) -> bool:
        """Compare with every token, in a time that tells nothing about any of them."""
        scheme, _, rest = given.partition(b" ")
        digest = _digest(rest.strip() if scheme.lower() == b"bearer" else given.strip())
        return sum(hmac.compare_digest(digest, known) for known in self._digests) > 0

    def _foreign_host(self, host: bytes) -> ApiError | None:
        name = re.sub(r":\d*$", "", host.decode("latin-1")).strip("[]").lower()
        if name in self._hosts:
            return None
        return ApiError(421, f"This replica has no token and answers only to {', '.join(LOOPBACK)}.", code="wrong_host")


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


def _request_id(given: bytes) -> str:
    text = given.decode("latin-1")
    return text if _ID.fullmatch(text) else f"req_{secrets.token_hex(12)}"
