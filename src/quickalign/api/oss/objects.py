"""Objects: put, get, head, delete, and uploads in parts."""

import base64
import hmac
from email.utils import formatdate
from typing import Protocol

import anyio
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from quickalign.api.oss import xml
from quickalign.core.errors import ConflictError, DataError, NotFoundError, OptionError, QuickalignError, TooLargeError
from quickalign.platform import Platform
from quickalign.platform.objects.outputs import OutputFile
from quickalign.platform.objects.store import StoredObject

_TYPE = "application/octet-stream"


class Sink(Protocol):
    """Something that bytes are written to."""

    @property
    def md5(self) -> bytes:
        """The MD5 of what has arrived."""

    def write(self, content: bytes) -> None:
        """Take the next bytes."""


async def put(platform: Platform, request: Request, bucket: str, key: str) -> Response:
    """Store the body as an object."""
    await anyio.to_thread.run_sync(_refuse_result, platform, bucket, key)
    with platform.objects.put(bucket, key, request.headers.get("content-type") or _TYPE) as putting:
        await _receive(request, putting)
        made = await anyio.to_thread.run_sync(putting.commit)
    return Response(headers={"ETag": f'"{made.etag}"'})


def get(platform: Platform, bucket: str, key: str, *, head: bool) -> Response:
    """The object's bytes, or those of the range that the request asks for."""
    found = find(platform, bucket, key)
    path = found.path if isinstance(found, OutputFile) else platform.objects.path(found)
    headers = _headers(found)
    if head or path is None:
        return Response(headers=headers | {"Content-Length": str(found.bytes)}, media_type=found.content_type)
    return FileResponse(path, headers=headers, media_type=found.content_type)


def find(platform: Platform, bucket: str, key: str) -> StoredObject | OutputFile:
    """An object, or a file of a job's result.

    Raises:
        NotFoundError: there is none.
    """
    try:
        return platform.objects.get(bucket, key)
    except NotFoundError:
        made = platform.outputs.get(bucket, key)
        if made is None:
            raise
        return made


def delete(platform: Platform, bucket: str, key: str) -> Response:
    """Delete an object; one that is not there is no error."""
    _refuse_result(platform, bucket, key)
    platform.objects.delete(bucket, key)
    return Response(status_code=204)


def delete_many(platform: Platform, bucket: str, body: bytes) -> Response:
    """Delete the objects that the body names."""
    keys, quiet = xml.keys_of(body)
    nodes: list[xml.Node] = []
    for key in keys:
        try:
            delete(platform, bucket, key)
        except QuickalignError as error:
            nodes.append(("Error", (("Key", key), ("Code", "FileImmutable"), ("Message", str(error)))))
        else:
            nodes += [] if quiet else [("Deleted", (("Key", key),))]
    return xml.answer("DeleteResult", nodes)


def begin_parts(platform: Platform, request: Request, bucket: str, key: str) -> Response:
    """Begin an upload in parts."""
    _refuse_result(platform, bucket, key)
    upload = platform.multipart.begin(bucket, key, request.headers.get("content-type") or _TYPE)
    return xml.answer("InitiateMultipartUploadResult", [("Bucket", bucket), ("Key", key), ("UploadId", upload)])


async def put_part(platform: Platform, request: Request, bucket: str, key: str, upload: str, number: str) -> Response:
    """Store the body as a part."""
    if not (number.isascii() and number.isdigit()):
        raise OptionError(f"{number[:20]!r} is no part's number.", field="partNumber")
    with platform.multipart.part(upload, bucket, key, int(number)) as writer:
        await _receive(request, writer)
        part = await anyio.to_thread.run_sync(writer.commit)
    return Response(headers={"ETag": f'"{part.etag}"'})


def list_parts(platform: Platform, bucket: str, key: str, upload: str) -> Response:
    """The parts that have arrived."""
    nodes: list[xml.Node] = [("Bucket", bucket), ("Key", key), ("UploadId", upload), ("IsTruncated", "false")]
    nodes.append(("NextPartNumberMarker", "0"))
    for part in platform.multipart.parts(upload, bucket, key):
        fields = (("PartNumber", str(part.number)), ("LastModified", xml.moment(part.modified_at)))
        nodes.append(("Part", (*fields, ("ETag", f'"{part.etag}"'), ("Size", str(part.bytes)))))
    return xml.answer("ListPartsResult", nodes)


def complete_parts(platform: Platform, bucket: str, key: str, upload: str, body: bytes) -> Response:
    """Join the parts."""
    made = platform.multipart.complete(upload, bucket, key, xml.parts_of(body))
    nodes: list[xml.Node] = [("Bucket", bucket), ("Key", key), ("ETag", f'"{made.etag}"')]
    return xml.answer("CompleteMultipartUploadResult", nodes)


async def small_body(request: Request) -> bytes:
    """The body of a request that brings a document.

    Raises:
        TooLargeError: it is no document's size.
    """
    body = bytearray()
    async for block in request.stream():
        body += block
        if len(body) > xml.MOST_BYTES:
            raise TooLargeError(f"The document has more than {xml.MOST_BYTES:,} bytes.")
    return bytes(body)


async def _receive(request: Request, sink: Sink) -> None:
    if "aws-chunked" in request.headers.get("content-encoding", "").lower():
        raise OptionError("A body in signed chunks is not supported by this server.", "Send it plain.")
    async for block in request.stream():
        await anyio.to_thread.run_sync(sink.write, block)
    wanted = request.headers.get("content-md5")
    if wanted and not hmac.compare_digest(wanted.encode(), base64.b64encode(sink.md5)):
        raise DataError("The bytes that arrived are not those of Content-MD5.", "Send them again.")


def _refuse_result(platform: Platform, bucket: str, key: str) -> None:
    if job := platform.outputs.job(bucket, key):
        raise ConflictError(f"{key[:200]!r} is a result of the job {job}, which does not change.", field="key")


def _headers(found: StoredObject | OutputFile) -> dict[str, str]:
    return {
        "ETag": f'"{found.etag}"',
        "Last-Modified": formatdate(found.modified_at, usegmt=True),
        "Accept-Ranges": "bytes",
        "x-oss-object-type": "Normal",
    }
