"""`/v1/fine_tuning/jobs`."""

import re
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request
from starlette.responses import Response

from quickalign.api.access import ThePlatform
from quickalign.api.limits import StrictRoute
from quickalign.api.openai import history, ids, mapping, objects, results
from quickalign.api.openai.pages import answer, page
from quickalign.core.errors import NotFoundError, OptionError
from quickalign.core.wire.jobs import Job
from quickalign.platform import Platform

router = APIRouter(route_class=StrictRoute)

JobId = Annotated[str, Path(max_length=100)]
_METADATA = re.compile(r"metadata\[(.{1,64})\]")


@router.post("")
def create_job(
    platform: ThePlatform,
    body: mapping.CreateJob,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> Response:
    """Make a job."""
    return _job(platform, platform.jobs.create(mapping.to_job(body), idempotency_key=idempotency_key))


@router.get("")
def list_jobs(
    request: Request,
    platform: ThePlatform,
    after: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
) -> Response:
    """Training jobs, newest first; also those that were made by other ways than this dialect."""
    cursor = ids.to_job(after) if after is not None else None
    found = platform.jobs.list(kinds=("train",), metadata=_wanted_metadata(request), after=cursor, limit=limit)
    items = [objects.of_job(job, results.trained_tokens(platform, job)) for job in found.items]
    return page(items, more=found.next is not None)


def _wanted_metadata(request: Request) -> dict[str, str]:
    wanted = {}
    for name, value in request.query_params.multi_items():
        if name == "metadata":
            raise OptionError(
                "A filter for jobs without metadata is not supported by this server.",
                "Filter by metadata[key]=value.",
                field="metadata",
                value=value,
            )
        if found := _METADATA.fullmatch(name):
            wanted[found[1]] = value
        elif name not in ("after", "limit"):
            raise OptionError(
                f"{name[:100]!r} is not supported by this server.", "Leave it out.", field=name[:100], value=value
            )
    return wanted


@router.get("/{job_id}")
def retrieve_job(platform: ThePlatform, job_id: JobId) -> Response:
    """One job."""
    return _job(platform, _known(platform, job_id))


@router.post("/{job_id}/cancel")
def cancel_job(platform: ThePlatform, job_id: JobId) -> Response:
    """Stop a job for good."""
    return _job(platform, platform.jobs.cancel(_known(platform, job_id).id))


@router.post("/{job_id}/pause")
def pause_job(platform: ThePlatform, job_id: JobId) -> Response:
    """Stop a job until it is resumed."""
    return _job(platform, platform.jobs.pause(_known(platform, job_id).id))


@router.post("/{job_id}/resume")
def resume_job(platform: ThePlatform, job_id: JobId) -> Response:
    """Go on with a paused or failed job."""
    return _job(platform, platform.jobs.resume(_known(platform, job_id).id))


@router.get("/{job_id}/events")
def list_events(
    platform: ThePlatform,
    job_id: JobId,
    after: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
) -> Response:
    """What happened to a job, newest first."""
    own = _known(platform, job_id).id
    before = ids.number_in(after, own) if after is not None else None
    found, more = history.newest(platform, own, before, limit)
    return page([objects.of_event(own, event) for event in found], more=more)


@router.get("/{job_id}/checkpoints")
def list_checkpoints(
    platform: ThePlatform,
    job_id: JobId,
    after: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 10,
) -> Response:
    """A job's checkpoints on disk, newest first."""
    job = _known(platform, job_id)
    found = list(reversed(platform.jobs.checkpoints(job.id)))
    if after is not None:
        step = ids.number_in(after, job.id)
        found = [checkpoint for checkpoint in found if checkpoint.step < step]
    return page([objects.of_checkpoint(job, one) for one in found[:limit]], more=len(found) > limit)


def _known(platform: Platform, job_id: str) -> Job:
    """The training job of that id; jobs of other kinds are none of this dialect.

    Raises:
        NotFoundError: there is none.
    """
    job = platform.jobs.get(ids.to_job(job_id))
    if job.kind != "train":
        raise NotFoundError(
            f"There is no fine-tuning job {job_id[:100]!r}: it does not train.",
            "`quickalign jobs show` shows jobs of all kinds.",
            field="fine_tuning_job_id",
            value=job_id,
        )
    return job


def _job(platform: Platform, job: Job) -> Response:
    return answer(objects.of_job(job, results.trained_tokens(platform, job)))
