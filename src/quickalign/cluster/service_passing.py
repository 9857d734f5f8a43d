"""One request and its answer, on the way between a client and whichever replica takes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from quickalign.cluster.service_messages import Asked, Begun, FullError, LostError, Told
from quickalign.serve.http.errors import ApiError
from quickalign.serve.http.respond import ClientGoneError, event, while_connected

if TYPE_CHECKING:
    from quickalign.cluster.service_front import Front

_MOST_LOST = 2
"""Replicas that may be lost over one request: what brought two of them down is not given to a third."""
_DROPPED = frozenset({b"x-request-id", b"transfer-encoding", b"connection"})
"""Headers of a replica's answer that belong to its own way here."""


class Passing(Response):
    """The answer to a request that a replica of `front` answers."""

    def __init__(self, front: Front, asked: Asked) -> None:
        super().__init__()
        self._front, self._asked = front, asked
        self._send: Send | None = None
        self._begun: Begun | None = None
        self._started = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        self._send = send
        work = asyncio.ensure_future(self._answer())
        self._front.open.add(work)
        if self._front.failure is not None:
            work.cancel()
        try:
            await while_connected(Request(scope, receive), work)
        except (ClientGoneError, OSError):
            return
        except ApiError as error:
            await self._fail(error, scope, receive)
        except asyncio.CancelledError:
            if self._front.failure is None:
                raise
            await self._fail(_ended(self._front.failure), scope, receive)
        finally:
            self._front.open.discard(work)

    async def _answer(self) -> None:
        """Ask until a replica has answered. Until an answer begins here, another replica can still begin it anew."""
        lost = 0
        while True:
            try:
                await self._ask()
                return
            except FullError:
                raise _full() from None
            except LostError as error:
                lost += 1
                if self._started or lost == _MOST_LOST:
                    self._front.metrics.lost()
                    raise _lost() from error

    async def _ask(self) -> None:
        self._begun = None
        async with aclosing(self._front.replicas.ask(self._asked)) as told:
            await self._arrived(told)
            async for part in told:
                if isinstance(part, Begun):
                    self._begun = part
                elif isinstance(part, bytes):
                    await self._tell(part, more=True)
        await self._tell(b"", more=False)

    async def _arrived(self, told: AsyncGenerator[Told, None]) -> None:
        """Wait until a replica has the request: where none is there, the cluster makes one."""
        try:
            async with asyncio.timeout(self._front.wait_seconds):
                await anext(told)
        except TimeoutError:
            raise _none_there(self._front.wait_seconds) from None
        except StopAsyncIteration:
            raise LostError("the replica said nothing") from None

    async def _tell(self, part: bytes, *, more: bool) -> None:
        assert self._send is not None
        if not self._started:
            if self._begun is None:
                raise LostError("the replica ended without an answer")
            headers = [header for header in self._begun.headers if header[0] not in _DROPPED]
            self._started = True
            await self._send({"type": "http.response.start", "status": self._begun.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": part, "more_body": more})

    async def _fail(self, error: ApiError, scope: Scope, receive: Receive) -> None:
        """Tell the client by a status where that is still possible, or else by a stream's last event.

        Any other answer that has begun is shorter than it was announced, which the client notices.
        """
        assert self._send is not None
        if not self._started:
            await error.response()(scope, receive, self._send)
        elif self._begun is not None and _is_stream(self._begun):
            await self._tell(event(error.body), more=False)


def _is_stream(begun: Begun) -> bool:
    kinds = [value for name, value in begun.headers if name == b"content-type"]
    return any(kind.startswith(b"text/event-stream") for kind in kinds)


def _lost() -> ApiError:
    message = "The replica that was answering is gone. Send the request again."
    return ApiError(502, message, code="replica_lost", headers={"Retry-After": "2"})


def _full() -> ApiError:
    message = "As many requests wait for a replica as may. Ask again in a moment, or raise max_waiting."
    return ApiError(429, message, code="rate_limit_exceeded", headers={"Retry-After": "1"})


def _none_there(seconds: float) -> ApiError:
    message = f"No replica could take the request within {seconds:.0f} seconds; one is being started. Ask again."
    return ApiError(503, message, code="not_ready", headers={"Retry-After": "5"})


def _ended(reason: str) -> ApiError:
    return ApiError(503, f"{reason} Send the request again.", code="engine_failed", headers={"Retry-After": "2"})
