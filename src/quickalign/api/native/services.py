"""Services: make, list, show, change, start, stop, delete."""

from typing import Annotated

from fastapi import APIRouter, Body, Path, Query
from starlette.responses import Response

from quickalign.api.access import ThePlatform, reply
from quickalign.api.documented import guarded, shown
from quickalign.api.limits import NativeRoute
from quickalign.api.native import service_examples as examples
from quickalign.api.native.jobs import IdempotencyKey
from quickalign.core.wire.base import Page
from quickalign.core.wire.services import Service, ServiceCreate, ServiceMetrics, ServiceState, ServiceUpdate

router = APIRouter(tags=["services"], route_class=NativeRoute)

ServiceName = Annotated[
    str, Path(max_length=100, description="A service's name or id.", examples=[examples.SERVICE_ID])
]


@router.post(
    "/services",
    status_code=201,
    response_model=Service,
    summary="Make a service",
    responses={**shown(examples.SERVICE, 201, "The service starts."), **guarded(404, 409, 413)},
)
def create_service(
    platform: ThePlatform,
    request: Annotated[ServiceCreate, Body(examples=[examples.CREATE.model_dump(mode="json")])],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Its source is resolved and frozen now; what can never fit is refused now."""
    return reply(platform.services.create(request, idempotency_key=idempotency_key), 201)


@router.get(
    "/services",
    response_model=Page[Service],
    summary="List services",
    responses={**shown(examples.SERVICES), **guarded(404)},
)
def list_services(
    platform: ThePlatform,
    state: Annotated[tuple[ServiceState, ...], Query(description="Only services in one of these states.")] = (),
    text: Annotated[
        str | None, Query(max_length=200, description="Only services whose name or id contains it.")
    ] = None,
    after: Annotated[str | None, Query(max_length=100, description="The `next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
) -> Response:
    """Newest first. Deleted ones are listed only where that state is asked for."""
    return reply(platform.services.list(states=state, text=text, after=after, limit=limit))


@router.get(
    "/services/{name}",
    response_model=Service,
    summary="Show a service",
    responses={**shown(examples.SERVICE), **guarded(404)},
)
def get_service(platform: ThePlatform, name: ServiceName) -> Response:
    """State, replicas, and what each revision has proved. A deleted service is found by its id."""
    return reply(platform.services.get(name))


@router.patch(
    "/services/{name}",
    response_model=Service,
    summary="Change a service",
    responses={**shown(examples.UPDATED), **guarded(404, 409, 413)},
)
def update_service(
    platform: ThePlatform,
    name: ServiceName,
    changes: Annotated[ServiceUpdate, Body(examples=[examples.UPDATE])],
) -> Response:
    """Another `spec` makes a revision; the old one answers until the new one has proved itself."""
    return reply(platform.services.update(name, changes))


@router.post(
    "/services/{name}/start",
    response_model=Service,
    summary="Start a service",
    responses={**shown(examples.SERVICE), **guarded(404, 409)},
)
def start_service(platform: ThePlatform, name: ServiceName) -> Response:
    """Brings back one that was stopped, or gives one that failed another try."""
    return reply(platform.services.start(name))


@router.post(
    "/services/{name}/stop",
    response_model=Service,
    summary="Stop a service",
    responses={**shown(examples.STOPPING), **guarded(404, 409)},
)
def stop_service(platform: ThePlatform, name: ServiceName) -> Response:
    """Open answers may finish; then its processes end. It keeps its name, its revisions and its tokens."""
    return reply(platform.services.stop(name))


@router.post(
    "/services/{name}/rollback",
    response_model=Service,
    summary="Go back to the revision before",
    responses={**shown(examples.UPDATED), **guarded(404, 409)},
)
def roll_back_service(platform: ThePlatform, name: ServiceName) -> Response:
    """Works as an update does. While an update is under way, it is given up."""
    return reply(platform.services.rollback(name))


@router.delete(
    "/services/{name}",
    status_code=202,
    response_model=Service,
    summary="Delete a service",
    responses={**shown(examples.DELETING, 202, "The service is being deleted."), **guarded(404)},
)
def delete_service(platform: ThePlatform, name: ServiceName) -> Response:
    """Open answers may finish. Afterwards the service is found by its id, with what was freed in `removal`."""
    return reply(platform.services.delete(name), 202)


@router.get(
    "/services/{name}/metrics",
    response_model=ServiceMetrics,
    summary="Read a service's figures",
    responses={**shown(examples.METRICS), **guarded(404)},
)
def read_service_metrics(platform: ThePlatform, name: ServiceName) -> Response:
    """What was counted since the server started."""
    return reply(platform.services.metrics(name))
