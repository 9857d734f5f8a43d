"""What every endpoint is given: the platform, and a place to run slow calls."""

from collections.abc import Callable
from typing import Annotated, Any, ParamSpec, TypeVar

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


class Slow:
    """Runs calls that take seconds or minutes in threads of their own, so that quick ones always find a free thread."""

    def __init__(self) -> None:
        self._limiter = anyio.CapacityLimiter(_SLOW_AT_ONCE)

    async def __call__(
        self, call: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        """Run `call` and wait for it."""
        return await anyio.to_thread.run_sync(lambda: call(*arguments, **named), limiter=self._limiter)


def _of_app(name: str) -> Any:
    """What `make_app` has put into the application's state under that name."""

    async def find(request: Request) -> Any:
        return getattr(request.app.state, name)

    return Depends(find)


ThePlatform = Annotated[Platform, _of_app("platform")]
TheMetrics = Annotated[Metrics, _of_app("metrics")]
TheStreams = Annotated[Streams, _of_app("streams")]
TheGateway = Annotated[Gateway, _of_app("gateway")]
TheSlow = Annotated[Slow, _of_app("slow")]


def reply(value: BaseModel, status: int = 200) -> Response:
    """`value` as JSON. It was validated when it was made, and is not checked a second time."""
    return Response(value.model_dump_json(), status_code=status, media_type="application/json")
