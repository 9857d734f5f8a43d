"""The application: routers, layers, schema."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi

from quickalign import __version__
from quickalign.api import health, problems
from quickalign.api import parts as parts_
from quickalign.api.access import Slow
from quickalign.api.dialects import SignedDialects
from quickalign.api.documented import with_problem
from quickalign.api.gateway.endpoints import Endpoints
from quickalign.api.gateway.gateway import Gateway
from quickalign.api.gateway.router import routes
from quickalign.api.limits import Limits
from quickalign.api.metrics import Metrics
from quickalign.api.native import (
    files,
    jobs,
    models,
    pai,
    service_streams,
    service_tokens,
    services,
    streams,
    system,
    votes,
)
from quickalign.api.openai import router as openai
from quickalign.api.parts import Part
from quickalign.api.requests import Head, Requests
from quickalign.api.security import Security
from quickalign.api.streams import Streams
from quickalign.platform import Platform

PREFIX = "/api/v1"
_SUMMARY = "Jobs that align open language models, their data and their results."


def make_app(platform: Platform, parts: Sequence[Part] = (), endpoints: Endpoints | None = None) -> FastAPI:
    """The application on an open platform, with what else the server has.

    Its gateway leads to `endpoints`, by default the platform's own.
    """
    gateway = Gateway(endpoints or platform.services.endpoints, platform.tokens, platform.config)
    app = FastAPI(
        title="quickalign",
        summary=_SUMMARY,
        version=__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        routes=routes(gateway),  # before all others: they are asked most, and how soon they answer is felt most
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    metrics = Metrics(platform)
    app.state.platform, app.state.metrics, app.state.slow = platform, metrics, Slow()
    app.state.streams = Streams(metrics)
    app.state.gateway = gateway
    metrics.add(gateway.figures)
    # before all others: a page that asks every other second need not be held against a hundred routes
    parts_.install(app, platform, parts)
    app.include_router(health.router)
    for part in (models, files, jobs, streams, services, service_streams, service_tokens, votes, pai, system):
        app.include_router(part.router, prefix=PREFIX)
    app.include_router(_schema_router(app))
    app.include_router(openai.router, prefix="/v1", include_in_schema=False)
    problems.install(app)
    # the last one added is the outermost
    app.add_middleware(Limits, max_upload=platform.config.max_upload_bytes, parts=parts)
    app.add_middleware(Head)
    app.add_middleware(Security, platform=platform, parts=parts)
    app.add_middleware(SignedDialects, platform=platform)
    app.add_middleware(Requests, metrics=metrics)
    return app


def _schema_router(app: FastAPI) -> APIRouter:
    router = APIRouter()

    @router.get(f"{PREFIX}/openapi.json", include_in_schema=False)
    def schema() -> dict[str, Any]:
        """The OpenAPI schema of the native API."""
        if app.openapi_schema is None:
            app.openapi_schema = with_problem(
                get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
            )
        return app.openapi_schema

    return router
