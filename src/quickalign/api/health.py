"""`/healthz`: the server answers. `/readyz`: it can work. `/metrics`: figures for Prometheus."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response

from quickalign import __version__
from quickalign.api import metrics
from quickalign.api.access import TheMetrics, ThePlatform, reply
from quickalign.api.documented import refusals

router = APIRouter(tags=["server"])


class Health(BaseModel):
    """The server answers."""

    status: Literal["ok"] = "ok"
    version: str = __version__


@router.get("/healthz", response_model=Health, summary="Does the server answer?", responses=refusals())
async def healthz() -> Response:
    """Answers as long as the process lives; needs no token."""
    return reply(Health())


@router.get("/readyz", response_model=Health, summary="Can the server work?", responses=refusals(503))
def readyz(platform: ThePlatform) -> Response:
    """Answers 200 when the database answers and jobs are looked after; needs no token."""
    platform.ping()
    return reply(Health())


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **refusals(401, 503)},
)
def prometheus(figures: TheMetrics) -> Response:
    """Requests, uploads, followers and jobs by state, in Prometheus' text format."""
    return Response(figures.text(), media_type=metrics.CONTENT_TYPE)
