"""HTTP as httptools reads it, with bounds on what it keeps of a request besides the body, and answers to HTTP/1.0."""

import asyncio
from typing import Any

from uvicorn._types import ASGISendEvent
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

MAX_HEAD_BYTES = 64 << 10
"""The most that a request's address and its headers, and trailers, may have together."""
HEAD_SECONDS = 60.0
"""How long a head may take to come, from the connection's beginning or from the request's first byte."""
_TOO_LONG = f"The head of the request is longer than {MAX_HEAD_BYTES} bytes."


class BoundedHttp(HttpToolsProtocol):
    """Answers 400 and closes the connection where a head is too long.

    Addresses and headers are counted when they are complete. The parser also holds what is not complete yet: a header,
    or what may stand beside a chunk's length. So the bytes that came since it last handed something on are counted too.

    Where a head does not come, the connection is closed: many of them would shut others out, and take no token.

    HTTP/1.0 knows no chunks: there an answer whose length is not told beforehand ends with its connection.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._head = self._held = 0
        self._waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._head_is_here()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._held += len(data)
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._wait_for_head()
        if self._held > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(_TOO_LONG)

    def on_message_begin(self) -> None:
        """See `httptools`."""
        self._head = self._held = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """See `httptools`."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """See `httptools`."""
        self._count(len(name) + len(value) + len(": \r\n"))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """See `httptools`."""
        self._head_is_here()
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before and self.scope["http_version"] == "1.0":  # its task begins after this
            self.cycle.send = _UntilClose(self.cycle)  # type: ignore[method-assign]

    def on_body(self, body: bytes) -> None:
        """See `httptools`."""
        self._held = 0
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """See `HttpToolsProtocol`, which does not know why."""
        super().send_400_response(_TOO_LONG if self._head > MAX_HEAD_BYTES else msg)

    def _wait_for_head(self) -> None:
        if self._waiting is None and not self.transport.is_closing():
            self._waiting = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _head_is_here(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _count(self, size: int) -> None:
        self._held = 0
        self._head += size
        if self._head > MAX_HEAD_BYTES:
            raise ValueError(_TOO_LONG)  # to the parser, which stops with an error of its own


class _UntilClose:
    """Sends an answer to an HTTP/1.0 request. uvicorn would send it in chunks."""

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle, self._send = cycle, cycle.send
        self._told = False

    async def __call__(self, message: ASGISendEvent) -> None:
        """See ASGI."""
        if message["type"] == "http.response.start":
            self._told = any(name.lower() == b"content-length" for name, _ in message.get("headers", ()))
            self._cycle.chunked_encoding = None if self._told else False
        elif message["type"] == "http.response.body" and not self._told:
            self._cycle.expected_content_length = len(message.get("body", b""))
        await self._send(message)
