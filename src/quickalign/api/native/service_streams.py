"""What services leave while they run: events and logs; in pages and as streams."""

from typing import Annotated

import anyio
from fastapi import APIRouter, Query
from starlette.responses import Response

from quickalign.api import sse
from quickalign.api.access import ThePlatform, TheStreams, reply
from quickalign.api.documented import guarded, shown, stream_of
from quickalign.api.limits import NativeRoute
from quickalign.api.native import service_examples as examples
from quickalign.api.native.services import ServiceName
from quickalign.api.native.streams import EVENTS, LOG_BYTES, After, LastEventId, Offset, batch_of_events, batch_of_log
from quickalign.api.streams import Batch
from quickalign.core.wire.base import Page
from quickalign.core.wire.jobs import Event, LogChunk
from quickalign.core.wire.services import ServiceState

router = APIRouter(tags=["services"], route_class=NativeRoute)

ReplicaId = Annotated[
    str | None, Query(max_length=100, description="Whose log; that of the oldest replica that answers by default.")
]


@router.get(
    "/services/{name}/events",
    response_model=Page[Event],
    summary="List a service's events",
    responses={**shown(examples.EVENTS), **guarded(404)},
)
def list_service_events(
    platform: ThePlatform, name: ServiceName, after: After = 0, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> Response:
    """Oldest first; `next` is the last event's number."""
    return reply(platform.services.events(name, after=after, limit=limit))


@router.get(
    "/services/{name}/events/stream",
    response_class=sse.EventStream,
    summary="Follow a service's events",
    responses={**stream_of("Each event as JSON; its `id` is the event's number."), **guarded(404)},
)
async def follow_service_events(
    platform: ThePlatform, streams: TheStreams, name: ServiceName, after: After = 0, last_event_id: LastEventId = None
) -> Response:
    """Goes on until the service is deleted."""
    service = await anyio.to_thread.run_sync(platform.services.get, name)

    def read(position: int) -> Batch:
        # the state first: what is appended between the two reads is found by the second
        over = platform.services.get(service.id).state is ServiceState.DELETED
        items = platform.services.events(service.id, after=position, limit=EVENTS).items
        return batch_of_events(position, items, over=over)

    content = streams.follow(("service events", service.id), read, sse.start_of(last_event_id, after))
    return sse.EventStream(content)


@router.get(
    "/services/{name}/logs",
    response_model=LogChunk,
    summary="Read a replica's log",
    responses={**shown(examples.LOG), **guarded(404)},
)
def read_service_logs(
    platform: ThePlatform,
    name: ServiceName,
    replica: ReplicaId = None,
    offset: Offset = 0,
    limit: Annotated[int, Query(ge=1, le=4 << 20, description="In bytes.")] = LOG_BYTES,
) -> Response:
    """A piece of what one replica said, over all its starts; whole characters only."""
    return reply(platform.services.logs(name, replica=replica, offset=offset, limit=limit))


@router.get(
    "/services/{name}/logs/stream",
    response_class=sse.EventStream,
    summary="Follow a replica's log",
    responses={**stream_of("Pieces of the log as JSON; the `id` is where the next begins."), **guarded(404)},
)
async def follow_service_logs(
    platform: ThePlatform,
    streams: TheStreams,
    name: ServiceName,
    replica: ReplicaId = None,
    offset: Offset = 0,
    last_event_id: LastEventId = None,
) -> Response:
    """Goes on until the replica is gone."""
    found = await anyio.to_thread.run_sync(platform.services.replica_of_log, name, replica)

    def read(position: int) -> Batch:
        chunk = platform.services.logs(found.service, replica=found.replica, offset=position, limit=LOG_BYTES)
        return batch_of_log(position, chunk)

    key = ("service logs", found.service, found.replica or "")
    return sse.EventStream(streams.follow(key, read, sse.start_of(last_event_id, offset)))
