"""`/v1/models`: the cards, and what finished jobs trained."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from quickalign.api.access import ThePlatform
from quickalign.api.openai import ids, objects
from quickalign.api.openai.pages import answer
from quickalign.core.errors import ConflictError, NotFoundError
from quickalign.core.wire.jobs import Job, JobState
from quickalign.platform import Platform

router = APIRouter()

ModelName = Annotated[str, Path(max_length=1000)]
_PAGE = 1000


@router.get("/models")
def list_models(platform: ThePlatform) -> Response:
    """All models: fine-tuned ones, newest first, then the cards."""
    trained = [objects.of_trained(job) for job in _finished(platform)]
    cards = [objects.of_card(card) for card in platform.models.list()]
    return answer({"object": "list", "data": trained + cards})


def _finished(platform: Platform) -> list[Job]:
    found: list[Job] = []
    after: str | None = None
    while True:
        part = platform.jobs.list(states=(JobState.SUCCEEDED,), after=after, limit=_PAGE)
        found += part.items
        after = part.next
        if after is None:
            return found


@router.get("/models/{name:path}")
def retrieve_model(platform: ThePlatform, name: ModelName) -> Response:
    """One model."""
    if ids.to_model_job(name) is not None:
        return answer(objects.of_trained(_trained(platform, name)))
    return answer(objects.of_card(platform.models.get(name)))


@router.delete("/models/{name:path}")
def delete_model(platform: ThePlatform, name: ModelName) -> Response:
    """Delete a fine-tuned model, and with it the job that made it."""
    if ids.to_model_job(name) is None:
        platform.models.get(name)
        raise ConflictError(
            f"{name} is a model card and cannot be deleted.", "Only fine-tuned models (ft:...) can.", field="model"
        )
    platform.jobs.delete(_trained(platform, name).id)
    return answer({"id": name, "object": "model", "deleted": True})


def _trained(platform: Platform, name: str) -> Job:
    missing = NotFoundError(f"There is no model {name[:200]!r}.", "GET /v1/models lists them all.", field="model")
    try:
        job = platform.jobs.get(ids.to_model_job(name) or "")
    except NotFoundError:
        raise missing from None
    if job.state is not JobState.SUCCEEDED or ids.of_model(job) != name:
        raise missing
    return job
