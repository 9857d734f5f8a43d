"""What opens one service: its own token, and named ones."""

from typing import Annotated

from fastapi import APIRouter, Body, Path
from pydantic import Field
from starlette.responses import Response

from quickalign.api.access import ThePlatform, reply
from quickalign.api.documented import guarded, shown
from quickalign.api.limits import NativeRoute
from quickalign.api.native import service_examples as examples
from quickalign.api.native.services import ServiceName
from quickalign.core.wire.base import Name, Page, Wire
from quickalign.core.wire.services import ServiceToken, ServiceTokenSecret

router = APIRouter(tags=["services"], route_class=NativeRoute)

TokenId = Annotated[str, Path(max_length=100, examples=[examples.TOKEN_ID])]


class NewToken(Wire):
    """A new named token."""

    name: Name = Field(description="A name for people, such as who has it.")


@router.get(
    "/services/{name}/token",
    response_model=ServiceTokenSecret,
    summary="Show a service's own token",
    responses={**shown(examples.OWN), **guarded(404, 409)},
)
def get_service_token(platform: ThePlatform, name: ServiceName) -> Response:
    """It opens this service alone. It is derived from a key of the server and stored nowhere."""
    return reply(platform.services.tokens.own(name))


@router.post(
    "/services/{name}/token/rotate",
    response_model=ServiceTokenSecret,
    summary="Replace a service's own token",
    responses={**shown(examples.OWN), **guarded(404, 409)},
)
def rotate_service_token(platform: ThePlatform, name: ServiceName) -> Response:
    """The old one opens nothing from now on; named ones stay good."""
    return reply(platform.services.tokens.rotate(name))


@router.post(
    "/services/{name}/tokens",
    status_code=201,
    response_model=ServiceTokenSecret,
    summary="Make a named token",
    responses={**shown(examples.SECRET, 201, "The token, shown this once."), **guarded(404, 409, 413)},
)
def create_service_token(
    platform: ThePlatform,
    name: ServiceName,
    request: Annotated[NewToken, Body(examples=[{"name": "the support team"}])],
) -> Response:
    """Its text is shown this once; only its hash is kept."""
    return reply(platform.services.tokens.create(name, request.name), 201)


@router.get(
    "/services/{name}/tokens",
    response_model=Page[ServiceToken],
    summary="List named tokens",
    responses={**shown(examples.TOKENS), **guarded(404)},
)
def list_service_tokens(platform: ThePlatform, name: ServiceName) -> Response:
    """Oldest first, also those that were revoked."""
    return reply(platform.services.tokens.list(name))


@router.delete(
    "/services/{name}/tokens/{token_id}", status_code=204, summary="Revoke a named token", responses=guarded(404)
)
def revoke_service_token(platform: ThePlatform, name: ServiceName, token_id: TokenId) -> Response:
    """It opens nothing from now on."""
    platform.services.tokens.revoke(name, token_id)
    return Response(status_code=204)
