"""Whose request it is: tokens that open one service, and tokens that open all."""

import hashlib
from dataclasses import dataclass

import anyio
from starlette.datastructures import Headers

from quickalign.api.gateway.endpoints import Endpoints
from quickalign.platform.services.routes import Route
from quickalign.platform.tokens import Tokens
from quickalign.serve.http.errors import ApiError

_LONGEST_TOKEN = 1000


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a token's name, the key that its limits go by, and whether it opens all services."""

    name: str
    key: str
    opens_all: bool


class Keys:
    """Tells tokens apart. Every comparison is of digests, and takes as long for a wrong token as for a right one."""

    def __init__(self, endpoints: Endpoints, tokens: Tokens) -> None:
        self._endpoints, self._tokens = endpoints, tokens

    async def caller(self, headers: Headers, route: Route | None) -> Caller:
        """Who asks for the service of `route`.

        Raises:
            ApiError: 401; the token does not open it. What is not there is not told from what is not open.
        """
        token = text_of(headers)
        if route is not None and (name := self._endpoints.verify(route.service_id, token)) is not None:
            return Caller(name, name, opens_all=False)
        return await self._server(token)

    async def any(self, headers: Headers) -> Caller | None:
        """The holder of a server's token; None for the holder of some service's, which is for `caller` to say.

        Raises:
            ApiError: 401; the token opens nothing at all.
        """
        token = text_of(headers)
        found = [self._endpoints.verify(route.service_id, token) for route in self._endpoints.all()]
        if any(name is not None for name in found):
            return None
        return await self._server(token)

    async def _server(self, token: str) -> Caller:
        if await anyio.to_thread.run_sync(self._tokens.verify, token):
            key = hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
            return Caller("server", f"server:{key}", opens_all=True)
        raise refused("The token does not open this service, or was revoked.")


def text_of(headers: Headers) -> str:
    """The token, sent as `Bearer <token>` or as it is.

    Raises:
        ApiError: 401; there is none.
    """
    given = headers.get("authorization", "").strip()
    scheme, _, rest = given.partition(" ")
    token = rest.strip() if scheme.lower() == "bearer" else given
    if not token or len(token) > _LONGEST_TOKEN:
        raise refused("The request brings no token.")
    return token


def refused(why: str) -> ApiError:
    """The answer to a request whose token does not open what it asks for."""
    headers = {"WWW-Authenticate": 'Bearer realm="quickalign"'}
    message = (
        f"{why} Send the service's token as `Authorization: Bearer <token>`; `quickalign services token` shows it."
    )
    return ApiError(401, message, code="invalid_api_key", headers=headers)
