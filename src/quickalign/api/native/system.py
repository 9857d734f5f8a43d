"""Estimates, and the server about itself."""

from typing import Annotated

from fastapi import APIRouter, Body
from starlette.responses import Response

from quickalign.api.access import ThePlatform, TheSlow, reply
from quickalign.api.documented import guarded, shown
from quickalign.api.limits import NativeRoute
from quickalign.api.native import examples
from quickalign.core.wire.jobs import Estimate, EstimateRequest
from quickalign.core.wire.system import SystemInfo

router = APIRouter(tags=["server"], route_class=NativeRoute)


@router.post(
    "/estimates",
    response_model=Estimate,
    summary="What would a job need?",
    responses={**shown(examples.ESTIMATE), **guarded(404, 413)},
)
async def estimate(
    platform: ThePlatform,
    slow: TheSlow,
    request: Annotated[EstimateRequest, Body(examples=[examples.ESTIMATE_REQUEST.model_dump(mode="json")])],
) -> Response:
    """Memory by part, steps and tokens, and the data report, without making a job. Takes seconds: the data is read."""
    return reply(await slow(platform.estimate, request))


@router.get(
    "/system",
    response_model=SystemInfo,
    summary="Versions, devices, queue",
    responses={**shown(examples.SYSTEM), **guarded()},
)
def system(platform: ThePlatform) -> Response:
    """What runs here, on what, and who waits for what."""
    return reply(platform.system())
