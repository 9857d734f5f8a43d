"""The application: a signed call comes in, its route answers, and every error is one of the protocol's."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import anyio
import orjson
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from quickalign.api.logs import request_id
from quickalign.api.pai.call import WORKSPACE, Call, Refused, missing
from quickalign.api.pai.routes import find
from quickalign.api.pai.signature import Signatures
from quickalign.api.problems import of_error
from quickalign.api.signed import Refusal
from quickalign.core.errors import QuickalignError
from quickalign.platform import Platform

_REFUSALS = {
    Refusal.MALFORMED: (400, "IncompleteSignature", "The request is not signed as ROA calls are (HMAC-SHA1, v1.0)."),
    Refusal.UNKNOWN_KEY: (404, "InvalidAccessKeyId.NotFound", "The access key is not known here, or was revoked."),
    Refusal.WRONG_SIGNATURE: (400, "SignatureDoesNotMatch", "The signature is not that of the request and the key."),
    Refusal.STALE: (400, "InvalidTimeStamp.Expired", "The request was signed too long ago, or in the future."),
    Refusal.REPLAYED: (400, "SignatureNonceUsed", "The request was made before."),
}
_CODES = {
    403: "Forbidden",
    404: "EntityNotFound",
    409: "OperationConflict",
    413: "RequestTooLarge",
    503: "ServiceUnavailable",
}


class Cloud:
    """ASGI; `secret` gives the secret of a good access key."""

    def __init__(self, platform: Platform, secret: Callable[[str], str | None]) -> None:
        self._platform = platform
        self._signatures = Signatures(secret)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except Refused as refused:
            response = _error(refused.status, refused.code, refused.message)
        except QuickalignError as error:
            found = of_error(error)
            status = 400 if found.status == HTTPStatus.UNPROCESSABLE_ENTITY else found.status
            response = _error(status, _CODES.get(status, "InvalidParameter"), str(error))
        except HTTPException as error:  # of the limits around this
            response = _error(error.status_code, _CODES.get(error.status_code, "RequestTimeout"), f"{error.detail}.")
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        raw = (request.scope.get("raw_path") or request.url.path.encode()).decode("latin-1").partition("?")[0]
        query = request.scope["query_string"].decode("latin-1")
        refusal = self._signatures.check(request.method, raw, query, request.headers)
        if refusal is not None:
            return _error(*_REFUSALS[refusal])
        action = request.headers.get("x-acs-action", "")
        route = find(request.method, raw, action)
        if route is None:
            message = f"The action {action[:100]!r} ({request.method} {raw[:200]}) is not part of this server."
            raise Refused(404, "InvalidAction.NotFound", message)
        parts = {name: unquote(value) for name, value in route[1].items()}
        body = _parsed(await request.body())
        base = str(self._platform.config.public_url or request.base_url).rstrip("/")
        call = Call(self._platform, parts, dict(request.query_params), body, base)
        _check_workspace(call)
        found = await anyio.to_thread.run_sync(route[0].answer, call)
        return _json(200, found)


def _parsed(body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(400, "InvalidBody", f"The body is no valid JSON: {error}.") from None
    if not isinstance(found, dict):
        raise Refused(400, "InvalidBody", "The body must be a JSON object.")
    if b"\\u0000" in body or b"\0" in body:
        raise Refused(400, "InvalidBody", "The body holds the character NUL.")
    return found


def _check_workspace(call: Call) -> None:
    for given in (call.query.get("WorkspaceId"), call.body.get("WorkspaceId")):
        if given not in (None, "", WORKSPACE):
            raise missing("Workspace", str(given))


def _error(status: int, code: str, message: str) -> Response:
    return _json(status, {"Code": code, "Message": message})


def _json(status: int, body: dict[str, Any]) -> Response:
    content = orjson.dumps({"RequestId": request_id() or "-", **body})
    return Response(content, status_code=status, media_type="application/json")
