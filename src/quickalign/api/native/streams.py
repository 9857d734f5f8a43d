"""What jobs leave while they run: events, logs, metrics, checkpoints, artefacts; in pages and as streams."""

import json
import mimetypes
from collections.abc import Sequence
from typing import Annotated, Literal

import anyio
from fastapi import APIRouter, Header, Path, Query
from starlette.responses import Response

from quickalign.api import sse
from quickalign.api.access import ThePlatform, TheStreams, reply
from quickalign.api.documented import bytes_of, guarded, shown, stream_of
from quickalign.api.limits import NativeRoute
from quickalign.api.native import examples
from quickalign.api.native.downloads import Download
from quickalign.api.native.jobs import JobId
from quickalign.api.streams import Batch
from quickalign.core.wire.base import Page
from quickalign.core.wire.jobs import Checkpoint, Event, LogChunk, MetricsPage

router = APIRouter(tags=["jobs"], route_class=NativeRoute)

MetricsKind = Literal["steps", "evaluations"]
After = Annotated[int, Query(ge=0, le=2**31 - 1, description="Only events with a higher sequence.")]
Offset = Annotated[int, Query(ge=0, le=2**53)]
LastEventId = Annotated[str | None, Header(description="The last `id` that was seen; wins over the query.")]
EVENTS, _LINES, LOG_BYTES = 500, 1000, 1 << 16


@router.get(
    "/jobs/{job_id}/events",
    response_model=Page[Event],
    summary="List a job's events",
    responses={**shown(examples.EVENTS), **guarded(404)},
)
def list_events(
    platform: ThePlatform, job_id: JobId, after: After = 0, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> Response:
    """Oldest first; `next` is the last event's number."""
    return reply(platform.jobs.events(job_id, after=after, limit=limit))


@router.get(
    "/jobs/{job_id}/events/stream",
    response_class=sse.EventStream,
    summary="Follow a job's events",
    responses={**stream_of("Each event as JSON; its `id` is the event's number."), **guarded(404)},
)
async def follow_events(
    platform: ThePlatform, streams: TheStreams, job_id: JobId, after: After = 0, last_event_id: LastEventId = None
) -> Response:
    """Goes on until the job is over."""
    await anyio.to_thread.run_sync(platform.jobs.get, job_id)

    def read(position: int) -> Batch:
        # the state first: what is appended between the two reads is found by the second
        over = platform.jobs.get(job_id).state.is_final
        return batch_of_events(position, platform.jobs.events(job_id, after=position, limit=EVENTS).items, over=over)

    content = streams.follow(("events", job_id), read, sse.start_of(last_event_id, after))
    return sse.EventStream(content)


@router.get(
    "/jobs/{job_id}/logs",
    response_model=LogChunk,
    summary="Read a job's log",
    responses={**shown(examples.LOG), **guarded(404)},
)
def read_logs(
    platform: ThePlatform,
    job_id: JobId,
    offset: Offset = 0,
    limit: Annotated[int, Query(ge=1, le=4 << 20, description="In bytes.")] = LOG_BYTES,
) -> Response:
    """A piece of what the job's processes said, over all attempts; whole characters only."""
    return reply(platform.jobs.logs(job_id, offset=offset, limit=limit))


@router.get(
    "/jobs/{job_id}/logs/stream",
    response_class=sse.EventStream,
    summary="Follow a job's log",
    responses={**stream_of("Pieces of the log as JSON; the `id` is where the next begins."), **guarded(404)},
)
async def follow_logs(
    platform: ThePlatform, streams: TheStreams, job_id: JobId, offset: Offset = 0, last_event_id: LastEventId = None
) -> Response:
    """Goes on until the job is over."""
    await anyio.to_thread.run_sync(platform.jobs.get, job_id)

    def read(position: int) -> Batch:
        return batch_of_log(position, platform.jobs.logs(job_id, offset=position, limit=LOG_BYTES))

    content = streams.follow(("logs", job_id), read, sse.start_of(last_event_id, offset))
    return sse.EventStream(content)


@router.get(
    "/jobs/{job_id}/metrics",
    response_model=MetricsPage,
    summary="Read a job's metrics",
    responses={**shown(examples.METRICS), **guarded(404)},
)
def read_metrics(
    platform: ThePlatform,
    job_id: JobId,
    kind: Annotated[MetricsKind, Query()] = "steps",
    offset: Offset = 0,
    limit: Annotated[int, Query(ge=1, le=10_000, description="In lines.")] = _LINES,
) -> Response:
    """Lines as the run writes them, one per optimiser step or per evaluation."""
    return reply(platform.jobs.metrics(job_id, kind=kind, offset=offset, limit=limit))


@router.get(
    "/jobs/{job_id}/metrics/stream",
    response_class=sse.EventStream,
    summary="Follow a job's metrics",
    responses={**stream_of("Each line as JSON; the `id` is the number of the next line."), **guarded(404)},
)
async def follow_metrics(
    platform: ThePlatform,
    streams: TheStreams,
    job_id: JobId,
    kind: Annotated[MetricsKind, Query()] = "steps",
    offset: Offset = 0,
    last_event_id: LastEventId = None,
) -> Response:
    """Goes on until the job is over."""
    await anyio.to_thread.run_sync(platform.jobs.get, job_id)

    def read(position: int) -> Batch:
        page = platform.jobs.metrics(job_id, kind=kind, offset=position, limit=_LINES)
        lines = [
            sse.encode(json.dumps(line), identity=number) for number, line in enumerate(page.items, start=position + 1)
        ]
        return Batch(position, page.next_offset, b"".join(lines), page.complete)

    content = streams.follow(("metrics", kind, job_id), read, sse.start_of(last_event_id, offset))
    return sse.EventStream(content)


@router.get(
    "/jobs/{job_id}/checkpoints",
    response_model=Page[Checkpoint],
    summary="List a job's checkpoints",
    responses={**shown(examples.CHECKPOINTS), **guarded(404)},
)
def list_checkpoints(platform: ThePlatform, job_id: JobId) -> Response:
    """Those on disk, oldest first, each with the metrics of its step."""
    return reply(Page[Checkpoint](items=platform.jobs.checkpoints(job_id)))


@router.get(
    "/jobs/{job_id}/artifacts/{path:path}",
    response_class=Response,
    summary="Download a file of a job",
    responses={**bytes_of("The file's bytes."), **guarded(404, 416)},
)
def get_artifact(
    platform: ThePlatform,
    job_id: JobId,
    path: Annotated[str, Path(max_length=1000, examples=["report.json"])],
) -> Response:
    """A file of the job's output: report.html, report.json, metrics.jsonl, adapter/... A Range header gets a part."""
    found = platform.jobs.artifact(job_id, path)
    return Download(found, found.name, mimetypes.guess_type(found.name)[0] or "application/octet-stream")


def batch_of_events(position: int, items: Sequence[Event], *, over: bool) -> Batch:
    """Events after `position`, `EVENTS` at most; `over` says that none will be added."""
    body = b"".join(sse.encode(event.model_dump_json(), identity=event.sequence) for event in items)
    following = items[-1].sequence if items else position
    return Batch(position, following, body, over and len(items) < EVENTS)


def batch_of_log(position: int, chunk: LogChunk) -> Batch:
    """A piece of a log that begins at `position`."""
    body = sse.encode(chunk.model_dump_json(), identity=chunk.next_offset) if chunk.text else b""
    return Batch(position, chunk.next_offset, body, chunk.complete)
