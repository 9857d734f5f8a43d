"""The application: every request is signed, and names a bucket and a key by its path."""

from collections.abc import Callable
from urllib.parse import unquote

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from quickalign.api.oss import errors, listing, objects, xml
from quickalign.api.oss.signature import SUBRESOURCES, check
from quickalign.api.problems import full_disk
from quickalign.core import disk
from quickalign.core.errors import QuickalignError
from quickalign.platform import Platform

BUCKET = "quickalign"
"""The one bucket there is."""

_KNOWN = frozenset({"uploads", "uploadId", "partNumber", "objectMeta", "delete", "continuation-token", "sequential"})


class ObjectStorage:
    """ASGI; `secret` gives the secret of a good access key."""

    def __init__(self, platform: Platform, secret: Callable[[str], str | None]) -> None:
        self._platform, self._secret = platform, secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except QuickalignError as error:
            response = errors.of_error(error)
        except OSError as error:
            if not disk.is_full(error):
                raise
            response = errors.of_error(full_disk())
        except HTTPException as error:  # of the limits around this
            code = "RequestTimeout" if error.status_code == 408 else "EntityTooLarge"
            response = errors.respond(error.status_code, code, f"{error.detail}.")
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        raw = request.scope.get("raw_path") or request.url.path.encode()
        bucket, _, key = unquote(raw.decode("latin-1").partition("?")[0].lstrip("/"), errors="replace").partition("/")
        query = request.scope["query_string"].decode("latin-1")
        refusal = check(request.method, bucket, key, query, request.headers, self._secret)
        if refusal is not None:
            return errors.refused(refusal)
        if any(name in request.headers for name in ("x-oss-copy-source", "x-oss-callback")):
            return errors.respond(501, "NotImplemented", "Copies and callbacks are not supported by this server.")
        for name in request.query_params:
            if name in SUBRESOURCES and name not in _KNOWN:
                return errors.respond(501, "NotImplemented", f"{name} is not supported by this server.")
        if not bucket:
            return self._buckets(request)
        if bucket != BUCKET:
            return errors.respond(404, "NoSuchBucket", f"There is one bucket here, {BUCKET!r}, and no {bucket[:63]!r}.")
        return await (self._object(request, key) if key else self._bucket(request))

    def _buckets(self, request: Request) -> Response:
        if request.method != "GET":
            return _unsupported(request)
        bucket = (("Name", BUCKET), ("Location", "local"), ("CreationDate", xml.moment(0)))
        ends = (("ExtranetEndpoint", request.url.netloc), ("IntranetEndpoint", request.url.netloc))
        nodes: list[xml.Node] = [("IsTruncated", "false"), ("Owner", (("ID", "0"), ("DisplayName", "quickalign")))]
        nodes.append(("Buckets", (("Bucket", (*bucket, *ends, ("StorageClass", "Standard"))),)))
        return xml.answer("ListAllMyBucketsResult", nodes)

    async def _bucket(self, request: Request) -> Response:
        if request.method == "POST" and "delete" in request.query_params:
            body = await objects.small_body(request)
            return await anyio.to_thread.run_sync(objects.delete_many, self._platform, BUCKET, body)
        if request.method != "GET":
            return _unsupported(request)
        asked = listing.read(request.query_params)
        return await anyio.to_thread.run_sync(listing.listing, self._platform, BUCKET, asked)

    async def _object(self, request: Request, key: str) -> Response:
        query, platform, run = request.query_params, self._platform, anyio.to_thread.run_sync
        upload = query.get("uploadId")
        if upload is not None:
            return await self._part(request, key, upload)
        match request.method:
            case "PUT":
                answer = await objects.put(platform, request, BUCKET, key)
            case "GET" | "HEAD":
                head = request.method == "HEAD" or "objectMeta" in query
                answer = await run(lambda: objects.get(platform, BUCKET, key, head=head))
            case "DELETE":
                answer = await run(objects.delete, platform, BUCKET, key)
            case "POST" if "uploads" in query:
                answer = await run(objects.begin_parts, platform, request, BUCKET, key)
            case _:
                answer = _unsupported(request)
        return answer

    async def _part(self, request: Request, key: str, upload: str) -> Response:
        """What belongs to an upload in parts."""
        platform, run = self._platform, anyio.to_thread.run_sync
        match request.method:
            case "PUT":
                number = request.query_params.get("partNumber", "")
                return await objects.put_part(platform, request, BUCKET, key, upload, number)
            case "GET":
                return await run(objects.list_parts, platform, BUCKET, key, upload)
            case "DELETE":
                await run(platform.multipart.abort, upload, BUCKET, key)
                return Response(status_code=204)
            case "POST":
                body = await objects.small_body(request)
                return await run(objects.complete_parts, platform, BUCKET, key, upload, body)
        return _unsupported(request)


def _unsupported(request: Request) -> Response:
    return errors.respond(501, "NotImplemented", f"{request.method} of {request.url.path[:200]} is not supported here.")
