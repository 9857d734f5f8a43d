"""A client that does as little as possible, because it is not what is measured and has the same processors to run on.

It sends one request over a connection that is kept, and looks at what comes for the first token and for the end alone.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any
from urllib.parse import urlsplit

_FIRST, _END = b'"text":', b"\r\n0\r\n\r\n"


class ThinClient(asyncio.Protocol):
    """One connection, for one request after another. Made by `connect`."""

    def __init__(self) -> None:
        self._wire: asyncio.Transport | None = None
        self._address = ("", 0)
        self._head = b""
        self._seen = b""
        self._begun = 0.0
        self._first: float | None = None
        self._done: asyncio.Future[float] | None = None

    @classmethod
    async def connect(cls, url: str, token: str) -> ThinClient:
        """A connection to the server of `url`, whose every request goes there."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        client = cls()
        client._address = parts.hostname, parts.port
        client._head = (
            f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {token}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        ).encode()
        await client._open()
        return client

    async def ask(self, body: dict[str, Any]) -> float:
        """Have a streamed completion answered; returns the seconds to its first token.

        Raises:
            RuntimeError: it is no such answer.
        """
        if self._wire is None or self._wire.is_closing():  # servers close what is idle for some seconds
            await self._open()
        assert self._wire is not None
        content = json.dumps(body).encode()
        self._seen, self._first = b"", None
        self._done = asyncio.get_running_loop().create_future()
        self._begun = time.perf_counter()
        self._wire.write(self._head + b"%d\r\n\r\n" % len(content) + content)
        return await self._done

    def close(self) -> None:
        """Close the connection."""
        assert self._wire is not None
        self._wire.close()

    async def _open(self) -> None:
        self._wire, _ = await asyncio.get_running_loop().create_connection(lambda: self, *self._address)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._first is None and _FIRST in data:
            self._first = time.perf_counter() - self._begun
        self._seen = (self._seen + data)[-400:]
        if self._done is not None and not self._done.done() and self._seen.endswith(_END):
            if self._first is None or b"data: [DONE]" not in self._seen:
                self._done.set_exception(RuntimeError(f"this is no answer: {self._seen!r}"))
            else:
                self._done.set_result(self._first)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        if self._done is not None and not self._done.done():
            self._done.set_exception(RuntimeError(f"the connection was lost after {self._seen!r}"))
