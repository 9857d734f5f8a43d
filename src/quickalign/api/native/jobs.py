"""Jobs: make, list, show, change, delete."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Path, Query
from pydantic import StringConstraints
from starlette.responses import Response

from quickalign.api.access import ThePlatform, reply
from quickalign.api.documented import guarded, shown
from quickalign.api.limits import NativeRoute
from quickalign.api.native import examples
from quickalign.core.errors import OptionError
from quickalign.core.wire.base import Page
from quickalign.core.wire.jobs import AnyJobCreate, Job, JobState, Kind

router = APIRouter(tags=["jobs"], route_class=NativeRoute)

JobId = Annotated[str, Path(max_length=100, examples=[examples.JOB_ID])]
Label = Annotated[str, StringConstraints(max_length=1000)]
IdempotencyKey = Annotated[
    str | None, Header(description="The same key with the same request makes one job, however often it is sent.")
]


@router.post(
    "/jobs",
    status_code=201,
    response_model=Job,
    summary="Make a job",
    responses={**shown(examples.JOB, 201, "The job is queued."), **guarded(404, 409, 413)},
)
def create_job(
    platform: ThePlatform,
    request: Annotated[AnyJobCreate, Body(examples=[examples.CREATE.model_dump(mode="json")])],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Its `kind` says whether it trains, evaluates or exports. Everything is checked before the job is queued: options,
    model, data, and whether it can ever fit.
    """
    return reply(platform.jobs.create(request, idempotency_key=idempotency_key), 201)


@router.get(
    "/jobs",
    response_model=Page[Job],
    summary="List jobs",
    responses={**shown(examples.JOBS), **guarded(404)},
)
def list_jobs(
    platform: ThePlatform,
    state: Annotated[tuple[JobState, ...], Query(description="Only jobs in one of these states.")] = (),
    kind: Annotated[tuple[Kind, ...], Query(description="Only jobs of one of these kinds.")] = (),
    model: Annotated[str | None, Query(max_length=500, description="Only jobs of this model.")] = None,
    text: Annotated[
        str | None, Query(max_length=200, description="Only jobs whose name, id or model contains it.")
    ] = None,
    label: Annotated[
        tuple[Label, ...],
        Query(max_length=16, description="Only jobs with this label, `key=value`; may be repeated."),
    ] = (),
    after: Annotated[str | None, Query(max_length=100, description="The `next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
) -> Response:
    """Newest first."""
    labels = dict(map(_label, label))
    return reply(
        platform.jobs.list(states=state, kinds=kind, model=model, text=text, metadata=labels, after=after, limit=limit)
    )


def _label(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not key or not separator:
        raise OptionError(f"The filter {text!r} names no label.", "Write label=KEY=VALUE.", field="label", value=text)
    return key, value


@router.get(
    "/jobs/{job_id}",
    response_model=Job,
    summary="Show a job",
    responses={**shown(examples.JOB), **guarded(404)},
)
def get_job(platform: ThePlatform, job_id: JobId) -> Response:
    """State, progress, and why it waits or failed."""
    return reply(platform.jobs.get(job_id))


@router.post(
    "/jobs/{job_id}/cancel",
    response_model=Job,
    summary="Cancel a job",
    responses={**shown(examples.JOB), **guarded(404, 409)},
)
def cancel_job(platform: ThePlatform, job_id: JobId) -> Response:
    """Stops it for good. A running job saves a checkpoint first and is `cancelling` meanwhile."""
    return reply(platform.jobs.cancel(job_id))


@router.post(
    "/jobs/{job_id}/pause",
    response_model=Job,
    summary="Pause a job",
    responses={**shown(examples.JOB), **guarded(404, 409)},
)
def pause_job(platform: ThePlatform, job_id: JobId) -> Response:
    """A running job saves a checkpoint first and is `pausing` meanwhile."""
    return reply(platform.jobs.pause(job_id))


@router.post(
    "/jobs/{job_id}/resume",
    response_model=Job,
    summary="Resume a paused or failed job",
    responses={**shown(examples.JOB), **guarded(404, 409)},
)
def resume_job(platform: ThePlatform, job_id: JobId) -> Response:
    """Back to the queue; it goes on from its last checkpoint and ends with the same weights."""
    return reply(platform.jobs.resume(job_id))


@router.post(
    "/jobs/{job_id}/clone",
    status_code=201,
    response_model=Job,
    summary="Make a job like another one",
    responses={**shown(examples.JOB, 201, "The new job is queued."), **guarded(404, 409, 413)},
)
def clone_job(
    platform: ThePlatform,
    job_id: JobId,
    changes: Annotated[
        dict[str, Any] | None,
        Body(description="Fields of a new job to change; those of `spec` are merged.", examples=[examples.CHANGES]),
    ] = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """The clone reads the very same frozen inputs, unless it names others."""
    return reply(platform.jobs.clone(job_id, changes or {}, idempotency_key=idempotency_key), 201)


@router.delete("/jobs/{job_id}", status_code=204, summary="Delete a job", responses=guarded(404, 409))
def delete_job(platform: ThePlatform, job_id: JobId) -> Response:
    """Removes a job that is over, with its checkpoints, weights and logs."""
    platform.jobs.delete(job_id)
    return Response(status_code=204)
