"""Where signed requests turn off: they bring their own kind of credential, and are no business of the bearer token's.

A web page cannot make one, because it has no secret to sign with, so neither host nor origin need be checked.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from quickalign.api.limits import Limits
from quickalign.api.oss import signature as oss
from quickalign.api.oss.app import ObjectStorage
from quickalign.api.pai import signature as pai
from quickalign.api.pai.app import Cloud
from quickalign.platform import Platform


class SignedDialects:
    """ASGI: requests that are signed go to their dialect, all others on to `app`."""

    def __init__(self, app: ASGIApp, platform: Platform) -> None:
        self._app = app
        secret = platform.access_keys.secret
        storage = ObjectStorage(platform, secret)
        self._dialects: dict[str, ASGIApp] = {
            oss.SCHEME.lower(): Limits(storage, platform.config.max_upload_bytes, every_body=True),
            pai.SCHEME.lower(): Limits(Cloud(platform, secret), platform.config.max_upload_bytes),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        app = self._dialects.get(_scheme(scope), self._app) if scope["type"] == "http" else self._app
        await app(scope, receive, send)


def _scheme(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"authorization":
            return bytes(value).partition(b" ")[0].decode("latin-1").lower()
    return ""
