"""Access keys for clients of PAI and OSS."""

from typing import Annotated

from fastapi import APIRouter, Body, Path
from starlette.responses import Response

from quickalign.api.access import ThePlatform, reply
from quickalign.api.documented import guarded, shown
from quickalign.api.limits import NativeRoute
from quickalign.api.oss.app import BUCKET
from quickalign.api.pai.call import REGION, WORKSPACE
from quickalign.core.wire.base import Page
from quickalign.core.wire.pai import AccessKeyCreate, AccessKeySecret, AccessKeyView
from quickalign.platform.access_keys import AccessKey

router = APIRouter(tags=["pai"], route_class=NativeRoute)

KEY_ID = "QAEXAMPLE234567"
_VIEW = AccessKeyView(id=KEY_ID, name="laptop", created_at=1767225600.0)
_SECRET = AccessKeySecret(
    access_key_id=_VIEW.id,
    access_key_secret="shown-once",  # noqa: S106 - an example
    region_id=REGION,
    workspace_id=WORKSPACE,
    oss_bucket_name=BUCKET,
)


@router.post(
    "/pai/credentials",
    status_code=201,
    response_model=AccessKeySecret,
    summary="Make an access key",
    responses={**shown(_SECRET, 201, "The key with its secret."), **guarded()},
)
def create_key(
    platform: ThePlatform, request: Annotated[AccessKeyCreate, Body(examples=[{"name": "laptop"}])]
) -> Response:
    """With it the stock clients of PAI and OSS sign what they send to this server."""
    key, secret = platform.access_keys.create(request.name)
    values = {"region_id": REGION, "workspace_id": WORKSPACE, "oss_bucket_name": BUCKET}
    return reply(AccessKeySecret(access_key_id=key.id, access_key_secret=secret, **values), 201)


@router.get(
    "/pai/credentials",
    response_model=Page[AccessKeyView],
    summary="List access keys",
    responses={**shown(Page[AccessKeyView](items=(_VIEW,))), **guarded()},
)
def list_keys(platform: ThePlatform) -> Response:
    """Oldest first, without their secrets."""
    return reply(Page[AccessKeyView](items=tuple(map(_view, platform.access_keys.list()))))


@router.delete("/pai/credentials/{key_id}", status_code=204, summary="Revoke an access key", responses=guarded(404))
def revoke_key(platform: ThePlatform, key_id: Annotated[str, Path(max_length=100, examples=[KEY_ID])]) -> Response:
    """What is signed with it is refused from now on."""
    platform.access_keys.revoke(key_id)
    return Response(status_code=204)


def _view(key: AccessKey) -> AccessKeyView:
    return AccessKeyView(id=key.id, name=key.name, created_at=key.created_at, revoked_at=key.revoked_at)
