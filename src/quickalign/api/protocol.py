"""HTTP/1.1 as httptools reads it, with bounds on what it keeps of a request besides the body; it has none itself."""

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

MAX_HEAD_BYTES = 64 << 10
"""The most that a request's address and its headers, and trailers, may have together."""
_TOO_LONG = f"The head of the request is longer than {MAX_HEAD_BYTES} bytes."


class BoundedHttp(HttpToolsProtocol):
    """Answers 400 and closes the connection where a head is too long.

    Addresses and headers are counted when they are complete. The parser also holds what is not complete yet: a header,
    or what may stand beside a chunk's length. So the bytes that came since it last handed something on are counted too.
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

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._held += len(data)
        super().data_received(data)
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

    def on_body(self, body: bytes) -> None:
        """See `httptools`."""
        self._held = 0
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """See `HttpToolsProtocol`, which does not know why."""
        super().send_400_response(_TOO_LONG if self._head > MAX_HEAD_BYTES else msg)

    def _count(self, size: int) -> None:
        self._held = 0
        self._head += size
        if self._head > MAX_HEAD_BYTES:
            raise ValueError(_TOO_LONG)  # to the parser, which stops with an error of its own
