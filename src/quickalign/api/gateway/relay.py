"""One request and its answer, on the way between a client and a replica.

The answer goes through as it comes: what is there is passed on, and nothing more is read from the replica before the
client took it. So a slow client holds nobody else back, and a fast one waits for nothing.
"""

import asyncio
from typing import TYPE_CHECKING

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from quickalign.api.gateway.course import BROKEN, Course
from quickalign.api.gateway.events import Events
from quickalign.api.gateway.keys import Caller
from quickalign.api.gateway.upstream import Answer, Asked, LostError, UnreachedError
from quickalign.platform.services.routes import Route, Upstream
from quickalign.serve.http.errors import ApiError
from quickalign.serve.http.respond import ClientGoneError, while_connected

if TYPE_CHECKING:
    from quickalign.api.gateway.gateway import Gateway

STALLED_SECONDS = 120.0
_RETRY_SECONDS = "2"
_ELSEWHERE = (429, 503)
_MOST_LOST = 2
"""Replicas that may be lost over one request: what brought two of them down is not given to a third."""


class Relay(Response):
    """The answer to a request that a replica of `route` answers.

    Args:
        gateway: what all requests share.
        route: the service.
        caller: who asks.
        asked: what is asked of the replica.
        course: the request's figures and log.
    """

    def __init__(self, gateway: "Gateway", route: Route, caller: Caller, asked: Asked, course: Course) -> None:
        super().__init__()
        self._gateway, self._route, self._caller, self._asked = gateway, route, caller, asked
        self._course = course
        self._send: Send | None = None
        self._events: Events | None = None
        self._started = False
        self._ended: ApiError | None = None
        self._work: asyncio.Future[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        self._send = send
        self._gateway.relays.add(self)
        try:
            with self._gateway.throttle.admitted((self._route.service_id, self._caller.key), self._route.limits):
                await self._while_connected(Request(scope, receive))
        except ApiError as error:
            await self._fail(error, scope, receive)
        except (ClientGoneError, OSError):
            return
        finally:
            self._gateway.relays.discard(self)
            self._course.end()

    def end(self, why: ApiError) -> None:
        """Break the answer off and tell the client why."""
        self._ended = why
        if self._work is not None:
            self._work.cancel()

    async def _while_connected(self, request: Request) -> None:
        self._work = asyncio.ensure_future(self._answer())
        try:
            await while_connected(request, self._work)
        except asyncio.CancelledError:
            if self._ended is None:
                raise
            raise self._ended from None

    async def _answer(self) -> None:
        """Ask one replica after the other until one answers."""
        tried: set[str] = set()
        lost = 0
        while True:
            upstream = await self._gateway.replica(self._route, tried, self._course)
            self._course.replica, self._course.retries = upstream.replica_id, len(tried)
            tried.add(upstream.replica_id)
            try:
                if await self._answered(upstream, tried):
                    return
            except UnreachedError:
                self._gateway.endpoints.broken(upstream.replica_id)
            except LostError as error:
                self._gateway.endpoints.broken(upstream.replica_id)
                lost += 1
                if lost == _MOST_LOST:
                    raise lost_replica() from error

    async def _answered(self, upstream: Upstream, tried: set[str]) -> bool:
        """Pass on what this replica answers; False where another one may do better."""
        gateway = self._gateway
        with gateway.balance.opened(upstream.replica_id):
            async with gateway.upstreams.ask(upstream, self._asked) as answer:
                if answer.status == 401:
                    raise LostError("the replica does not know the gateway's token")
                if answer.status in _ELSEWHERE and gateway.has_other(self._route, tried):
                    return False
                if answer.is_stream:
                    await self._pass_events(answer)
                else:
                    await self._pass_bytes(answer)
        return True

    async def _pass_events(self, answer: Answer) -> None:
        """Pass on a stream. Until its first event is whole, another replica can still begin it anew.

        Raises:
            LostError: the stream ended before that.
        """
        events = Events()
        try:
            await self._pass_event(answer, events, events.push(answer.first))
            async for chunk in answer.rest():
                await self._pass_event(answer, events, events.push(chunk))
        except LostError:
            if not self._started:
                raise
        if not self._started:
            raise LostError("the replica ended a stream without an event")
        if events.finished:
            await self._tell(b"", more=False)
            return
        if self._course.replica is not None:
            self._gateway.endpoints.broken(self._course.replica)
        raise lost_replica()

    async def _pass_event(self, answer: Answer, events: Events, whole: bytes) -> None:
        if not whole:
            return
        if not self._started:
            self._events = events
            await self._start(answer)
        await self._tell(whole)
        self._course.streamed(events)

    async def _pass_bytes(self, answer: Answer) -> None:
        """Pass on any other answer. One that breaks off is shorter than it was announced, which the client notices."""
        self._course.whole(answer.first)
        await self._start(answer, answer.length)
        try:
            await self._tell(answer.first)
            async for chunk in answer.rest():
                await self._tell(chunk)
        except LostError:
            raise lost_replica() from None
        await self._tell(b"", more=False)

    async def _start(self, answer: Answer, length: str | None = None) -> None:
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()]
        if length is not None:
            headers.append((b"content-length", length.encode()))
        assert self._send is not None
        self._started, self._course.how = True, str(answer.status)
        await self._send({"type": "http.response.start", "status": answer.status, "headers": headers})

    async def _tell(self, part: bytes, *, more: bool = True) -> None:
        """Give the client a part of its answer; waits until the client took enough of what it was given before.

        Raises:
            ClientGoneError: it takes nothing any more.
        """
        assert self._send is not None
        try:
            async with asyncio.timeout(self._gateway.stalled_seconds):
                await self._send({"type": "http.response.body", "body": part, "more_body": more})
        except TimeoutError:
            raise ClientGoneError from None
        self._course.passed(part)

    async def _fail(self, error: ApiError, scope: Scope, receive: Receive) -> None:
        """Tell the client what happened, by a status where that is still possible, or else by a last event."""
        assert self._send is not None
        if not self._started:
            self._course.how = str(error.status)
            await error.response()(scope, receive, self._send)
            return
        self._course.how = BROKEN
        self._course.logged["error"] = error.message
        if self._events is not None:
            try:
                await self._tell(b"data: " + orjson.dumps(error.body) + b"\n\n")
                await self._tell(b"", more=False)
            except (ClientGoneError, OSError):
                return


def lost_replica() -> ApiError:
    """What a client is told whose answer broke off."""
    return ApiError(
        502,
        "The replica that was answering is gone. Send the request again.",
        code="replica_lost",
        headers={"Retry-After": _RETRY_SECONDS},
    )
