"""`/v1/models`: services, what finished jobs trained, and the cards."""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from quickalign.api.access import TheGateway, ThePlatform
from quickalign.api.gateway.gateway import Gateway
from quickalign.api.openai import ids, objects
from quickalign.api.openai.pages import answer
from quickalign.core.errors import ConflictError, NotFoundError
from quickalign.core.wire.jobs import Job, JobState, Kind
from quickalign.core.wire.pages import all_items
from quickalign.platform import Platform
from quickalign.platform.services.routes import Route

router = APIRouter()

ModelName = Annotated[str, Path(max_length=1000)]
_PAGE = 1000
_MAKERS: tuple[Kind, ...] = ("train", "export")
"""Kinds of jobs that leave a model."""


@router.get("/models")
def list_models(platform: ThePlatform, gateway: TheGateway) -> Response:
    """All models: those that services answer for, then fine-tuned ones, newest first, then the cards."""
    services = [objects.of_service(route) for route in gateway.endpoints.all()]
    trained = [objects.of_trained(job) for job in _finished(platform)]
    cards = [objects.of_card(card) for card in platform.models.list()]
    return answer({"object": "list", "data": services + trained + cards})


def _finished(platform: Platform) -> list[Job]:
    succeeded = (JobState.SUCCEEDED,)
    return [*all_items(lambda after: platform.jobs.list(states=succeeded, kinds=_MAKERS, after=after, limit=_PAGE))]


@router.get("/models/{name:path}")
def retrieve_model(platform: ThePlatform, gateway: TheGateway, name: ModelName) -> Response:
    """One model."""
    if (service := _service(gateway, name)) is not None:
        return answer(objects.of_service(service))
    if ids.to_model_job(name) is not None:
        return answer(objects.of_trained(_trained(platform, name)))
    return answer(objects.of_card(platform.models.get(name)))


@router.delete("/models/{name:path}")
def delete_model(platform: ThePlatform, gateway: TheGateway, name: ModelName) -> Response:
    """Delete a fine-tuned model, and with it the job that made it."""
    if _service(gateway, name) is not None:
        raise ConflictError(
            f"{name} is a service and is not deleted here.", "`quickalign services delete` deletes it.", field="model"
        )
    if ids.to_model_job(name) is None:
        platform.models.get(name)
        raise ConflictError(
            f"{name} is a model card and cannot be deleted.", "Only fine-tuned models (ft:...) can.", field="model"
        )
    platform.jobs.delete(_trained(platform, name).id)
    return answer({"id": name, "object": "model", "deleted": True})


def _service(gateway: Gateway, name: str) -> Route | None:
    route = gateway.endpoints.find(name)
    return route if route is not None and route.name == name else None


def _trained(platform: Platform, name: str) -> Job:
    missing = NotFoundError(f"There is no model {name[:200]!r}.", "GET /v1/models lists them all.", field="model")
    try:
        job = platform.jobs.get(ids.to_model_job(name) or "")
    except NotFoundError:
        raise missing from None
    if job.state is not JobState.SUCCEEDED or job.kind not in _MAKERS or ids.of_model(job) != name:
        raise missing
    return job
