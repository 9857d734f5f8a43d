"""The way to a replica: one request, and its answer's beginning or what became of it.

Why aiohttp: docs/decisions/0011-the-gateway-asks-with-aiohttp.md.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from quickalign.platform.services.routes import Upstream

CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 600.0
_KEPT_SECONDS = 2.0
"""How long an idle connection is kept: shorter than a replica keeps it, so that none is used that just closes."""
_WHOLE_BYTES = 256 << 10
_HEADERS = frozenset({"content-type", "cache-control", "retry-after", "x-accel-buffering", "allow"})
"""What of an answer's headers goes on to the client."""


class UnreachedError(Exception):
    """The replica never got the request."""


class LostError(Exception):
    """The replica got the request and went away, or fell silent."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for a replica."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str]


@dataclass(slots=True)
class Answer:
    """An answer that has begun.

    Attributes:
        first: its first bytes: of a stream what came first, of any other answer all of it where it is not large.
        complete: whether `first` is all of it.
    """

    status: int
    headers: dict[str, str]
    first: bytes
    complete: bool
    _response: aiohttp.ClientResponse

    @property
    def is_stream(self) -> bool:
        """Whether it consists of events."""
        return self.headers.get("content-type", "").startswith("text/event-stream")

    @property
    def length(self) -> str | None:
        """Its length where it is known."""
        return str(len(self.first)) if self.complete else self._response.headers.get("Content-Length")

    async def rest(self) -> AsyncGenerator[bytes, None]:
        """What comes after `first`, as it comes.

        Raises:
            LostError: it broke off.
        """
        while not self.complete:
            chunk = await _read(self._response)
            if not chunk:
                self.complete = True
                return
            yield chunk


class Upstreams:
    """The connections to all replicas. What a client does not read is not read from its replica either."""

    def __init__(self, silence: float = SILENCE_SECONDS) -> None:
        self._silence = silence
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def ask(self, upstream: Upstream, asked: Asked) -> AsyncIterator[Answer]:
        """Send a request; the replica notices at once when the block is left before its answer is complete.

        Raises:
            UnreachedError, LostError: there is no beginning of an answer.
        """
        headers = {**asked.headers, "Authorization": f"Bearer {upstream.token}", "Accept-Encoding": "identity"}
        response = await self._send(upstream.base_url + asked.path, asked, headers)
        try:
            yield await _begin(response)
        finally:
            response.close() if not response.content.at_eof() else response.release()

    async def _send(self, url: str, asked: Asked, headers: dict[str, str]) -> aiohttp.ClientResponse:
        try:
            return await self._opened().request(
                asked.method, url, data=asked.body or None, headers=headers, allow_redirects=False
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise UnreachedError(str(error)) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise LostError(str(error) or type(error).__name__) from None

    def _opened(self) -> aiohttp.ClientSession:
        """The session, which belongs to the loop that it is first used in."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEPT_SECONDS),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=self._silence),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=("User-Agent", "Content-Type"),
            )
        return self._session


async def _begin(response: aiohttp.ClientResponse) -> Answer:
    headers = {name.lower(): value for name, value in response.headers.items() if name.lower() in _HEADERS}
    answer = Answer(response.status, headers, b"", False, response)
    least = 1 if answer.is_stream else _WHOLE_BYTES
    parts: list[bytes] = []
    taken = 0
    while taken < least:
        chunk = await _read(response)
        if not chunk:
            answer.complete = True
            break
        parts.append(chunk)
        taken += len(chunk)
    answer.first = b"".join(parts)
    return answer


async def _read(response: aiohttp.ClientResponse) -> bytes:
    try:
        return await response.content.readany()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise LostError(str(error) or type(error).__name__) from None
