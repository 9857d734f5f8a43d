"""What all requests to services share."""

import asyncio
import time
from collections.abc import Collection
from typing import Any

from starlette.requests import Request

from quickalign.api.gateway.balance import Balance
from quickalign.api.gateway.course import Course
from quickalign.api.gateway.endpoints import Endpoints
from quickalign.api.gateway.figures import Figures
from quickalign.api.gateway.keys import Caller, Keys
from quickalign.api.gateway.relay import STALLED_SECONDS, Relay
from quickalign.api.gateway.throttle import Throttle
from quickalign.api.gateway.upstream import SILENCE_SECONDS, Asked, Upstreams
from quickalign.core.wire.services import ServiceState
from quickalign.platform import Config
from quickalign.platform.services.routes import Route, Upstream
from quickalign.platform.tokens import Tokens
from quickalign.serve.http.errors import ApiError

_LOOK_SECONDS = 0.05
_RETRY_SECONDS = "5"
_BECOMING = frozenset({ServiceState.PENDING, ServiceState.STARTING, ServiceState.UPDATING})
"""States that a service leaves by itself, and answers afterwards."""


class Gateway:
    """The way to all services of a platform.

    Args:
        endpoints: the services.
        tokens: the server's tokens, which open all of them.
        config: the operator's settings.
        silence: seconds after which a replica that says nothing is given up.
        stalled_seconds: seconds after which a client that takes nothing is given up.

    Attributes:
        relays: the answers that are under way.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        tokens: Tokens,
        config: Config,
        *,
        silence: float = SILENCE_SECONDS,
        stalled_seconds: float = STALLED_SECONDS,
    ) -> None:
        self.endpoints, self._config, self.stalled_seconds = endpoints, config, stalled_seconds
        self.keys = Keys(endpoints, tokens)
        self.throttle, self.balance, self.upstreams = Throttle(), Balance(), Upstreams(silence)
        self.figures = Figures(lambda service_id: endpoints.find(service_id) is not None)
        self.relays: set[Relay] = set()
        endpoints.open_requests, endpoints.metrics = self.balance.open_requests, self.figures.shown

    def relay(self, request: Request, route: Route, caller: Caller, asked: Asked) -> Relay:
        """The answer to a request that a replica is to answer."""
        logged: dict[str, Any] = request.scope.setdefault("logged", {})
        logged |= {"service": route.name, "token": caller.name}
        figures = self.figures.of(route.service_id, route.name)
        course = Course(figures, time.monotonic(), logged, with_contents=self._config.log_contents)
        course.asked(asked.body)
        return Relay(self, route, caller, asked, course)

    async def replica(self, route: Route, tried: Collection[str], course: Course) -> Upstream:
        """The replica to ask next. While a service starts, its requests wait, as long as the operator lets them.

        Raises:
            ApiError: there is none.
        """
        self.endpoints.touch(route.service_id)
        found = self.balance.choose(self._now(route).replicas, tried)
        if found is not None:
            return found
        if tried:
            raise _not_ready(self._now(route), "Its replicas cannot be reached.")
        with course.waiting():
            return await self._ready(route)

    def has_other(self, route: Route, tried: Collection[str]) -> bool:
        """Whether there is a replica that was not tried."""
        now = self.endpoints.find(route.service_id)
        return now is not None and any(each.replica_id not in tried for each in now.replicas)

    def end_answers(self) -> None:
        """Break off all answers: the server is about to stop."""
        why = ApiError(503, "The server is shutting down. Send the request again.", code="shutting_down")
        for relay in list(self.relays):
            relay.end(why)

    async def close(self) -> None:
        """Close all connections to replicas."""
        await self.upstreams.close()

    def _now(self, route: Route) -> Route:
        found = self.endpoints.find(route.service_id)
        if found is None:
            raise ApiError(404, f"The service {route.name!r} was deleted.", code="model_not_found", param="model")
        return found

    async def _ready(self, route: Route) -> Upstream:
        end = time.monotonic() + self._config.service_wait_seconds
        while True:
            now = self._now(route)
            found = self.balance.choose(now.replicas)
            if found is not None:
                return found
            if not self._becomes_ready(now) or time.monotonic() >= end:
                raise _not_ready(now)
            await asyncio.sleep(_LOOK_SECONDS)

    def _becomes_ready(self, route: Route) -> bool:
        """Whether a service without a ready replica will have one by itself."""
        return route.state in _BECOMING or self.endpoints.sleeps(route.service_id)


def _not_ready(route: Route, otherwise: str = "None of its replicas is ready.") -> ApiError:
    why = route.reason.message if route.reason is not None else otherwise
    return ApiError(
        503,
        f"The service {route.name!r} is {route.state} and cannot answer now. {why}",
        code="not_ready",
        headers={"Retry-After": _RETRY_SECONDS},
    )
