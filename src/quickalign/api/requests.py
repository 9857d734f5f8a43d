"""Around every request: its id, its line in the log, its figures, and the answer where something unforeseen happens."""

import logging
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from quickalign.api import logs
from quickalign.api.metrics import Metrics
from quickalign.api.problems import internal

_LOG = logging.getLogger("quickalign.api.request")
_SLOW_SECONDS = 1.0


class Requests:
    """The outermost layer."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        identity = logs.begin_request(Headers(scope=scope).get("x-request-id"))
        begun, status = time.perf_counter(), 0
        scope["logged"] = {}  # what else the log should say, for those behind this to fill

        async def sender(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = identity
                self._count(scope, status, time.perf_counter() - begun)
            await send(message)

        try:
            await self._app(scope, receive, sender)
        except Exception as error:
            response = internal(scope["path"], error)
            if not status:
                await response(scope, receive, sender)
        finally:
            self._tell(scope, status, time.perf_counter() - begun)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = _route(scope)
        method = scope["method"] if scope["method"] in ("GET", "POST", "DELETE", "HEAD", "OPTIONS") else "other"
        self._metrics.requests.labels(method, route, str(status)).inc()
        self._metrics.seconds.labels(method, route).observe(seconds)

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        # whoever follows a job asks several times a second: figures count that, and the log stays readable
        ordinary = scope["method"] in ("GET", "HEAD") and status < 400 and seconds < _SLOW_SECONDS
        level = logging.DEBUG if ordinary else logging.INFO
        fields = {
            "method": scope["method"],
            "path": scope["path"][:500],
            "status": status,
            "ms": round(seconds * 1000, 1),
            "client": (scope.get("client") or ("",))[0],
        }
        _LOG.log(level, "request", extra={"fields": fields | scope["logged"]})


def _route(scope: Scope) -> str:
    """The path with names in place of what stands for them, so that ids do not make figures of their own."""
    if "route" not in scope:
        return "unmatched"
    path: str = scope["path"]
    for name, value in scope["path_params"].items():
        path = path.replace(f"/{value}", f"/{{{name}}}", 1)
    return path


class Head:
    """Answers HEAD as GET without a body. A stream has no end to tell the length of and is left to refuse it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or scope["method"] != "HEAD" or scope["path"].endswith("/stream"):
            await self._app(scope, receive, send)
            return

        async def sender(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self._app({**scope, "method": "GET"}, receive, sender)
