"""What every endpoint is given: the platform, and a place to run slow calls."""

from collections.abc import Callable
from typing import Annotated, ParamSpec, TypeVar

import anyio
from fastapi import Depends, Request
from pydantic import BaseModel
from starlette.responses import Response

from quickalign.api.gateway.gateway import Gateway
from quickalign.api.metrics import Metrics
from quickalign.api.streams import Streams
from quickalign.platform import Platform

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_SLOW_AT_ONCE = 8


async def _platform(request: Request) -> Platform:
    found: Platform = request.app.state.platform
    return found


async def _metrics(request: Request) -> Metrics:
    found: Metrics = request.app.state.metrics
    return found


async def _streams(request: Request) -> Streams:
    found: Streams = request.app.state.streams
    return found


async def _gateway(request: Request) -> Gateway:
    found: Gateway = request.app.state.gateway
    return found


ThePlatform = Annotated[Platform, Depends(_platform)]
TheMetrics = Annotated[Metrics, Depends(_metrics)]
TheStreams = Annotated[Streams, Depends(_streams)]
TheGateway = Annotated[Gateway, Depends(_gateway)]


class Slow:
    """Runs calls that take seconds or minutes in threads of their own, so that quick ones always find a free thread."""

    def __init__(self) -> None:
        self._limiter = anyio.CapacityLimiter(_SLOW_AT_ONCE)

    async def __call__(
        self, call: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        """Run `call` and wait for it."""
        return await anyio.to_thread.run_sync(lambda: call(*arguments, **named), limiter=self._limiter)


async def _slow(request: Request) -> Slow:
    found: Slow = request.app.state.slow
    return found


TheSlow = Annotated[Slow, Depends(_slow)]


def reply(value: BaseModel, status: int = 200) -> Response:
    """`value` as JSON. It was validated when it was made, and is not checked a second time."""
    return Response(value.model_dump_json(), status_code=status, media_type="application/json")
