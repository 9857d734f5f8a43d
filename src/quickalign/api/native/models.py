"""Model cards."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from quickalign.api.access import ThePlatform, reply
from quickalign.api.documented import guarded, shown
from quickalign.api.limits import NativeRoute
from quickalign.api.native import examples
from quickalign.core.wire.base import Page
from quickalign.core.wire.system import ModelDetail, ModelSummary

router = APIRouter(tags=["models"], route_class=NativeRoute)


@router.get(
    "/models",
    response_model=Page[ModelSummary],
    summary="List model cards",
    responses={**shown(examples.MODELS), **guarded()},
)
def list_models(
    platform: ThePlatform,
    text: Annotated[str | None, Query(max_length=200, description="Only cards whose names contain it.")] = None,
    method: Annotated[
        str | None, Query(max_length=50, description="Only cards that can be trained so: sft, dpo, lora, ...")
    ] = None,
) -> Response:
    """All cards on one page."""
    return reply(Page[ModelSummary](items=platform.models.list(text=text, method=method)))


@router.get(
    "/models/{name:path}",
    response_model=ModelDetail,
    summary="Show a model card",
    responses={**shown(examples.DETAIL), **guarded(404)},
)
def get_model(
    platform: ThePlatform,
    name: Annotated[str, Path(description="The card's name, or a repository's.", examples=[examples.MODEL])],
) -> Response:
    """One card with the JSON schema of all options."""
    return reply(platform.models.get(name))
