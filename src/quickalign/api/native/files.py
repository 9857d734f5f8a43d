"""Uploaded files."""

import re
from typing import Annotated, Any

import anyio
import orjson
from fastapi import APIRouter, Header, Path, Query, Request
from starlette.responses import Response

from quickalign.api.access import TheMetrics, ThePlatform, TheSlow, reply
from quickalign.api.documented import bytes_of, guarded, shown
from quickalign.api.limits import NativeRoute
from quickalign.api.native import examples
from quickalign.api.native.downloads import Download
from quickalign.core.errors import OptionError
from quickalign.core.spec import DataFormat
from quickalign.core.wire.base import Page
from quickalign.core.wire.files import RowPreview, RowTextsPage, RowTokensPage, StoredFile

router = APIRouter(tags=["files"], route_class=NativeRoute)

FileId = Annotated[str, Path(max_length=100, examples=[examples.FILE_ID])]
_BLOCK = 1 << 20
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_BODY = {
    "required": True,
    "content": {
        "application/octet-stream": {
            "schema": {"type": "string", "format": "binary"},
            "example": '{"prompt": "Hi", "chosen": "Hello!", "rejected": "What?"}\n',
        }
    },
}


@router.post(
    "/files",
    status_code=201,
    response_model=StoredFile,
    summary="Upload a file",
    responses={**shown(examples.FILE, 201, "The file is stored."), **guarded(408, 413)},
    openapi_extra={"requestBody": _BODY},
)
async def upload(
    request: Request,
    platform: ThePlatform,
    metrics: TheMetrics,
    filename: Annotated[str, Query(min_length=1, max_length=1000, examples=["pairs.jsonl"])],
    purpose: Annotated[str, Query(max_length=50)] = "fine-tune",
    x_content_sha256: Annotated[str | None, Header(description="What the bytes must hash to.")] = None,
) -> Response:
    """The body is the file as it is. It is read as it comes; what is cut off leaves nothing behind."""
    _check_digest(x_content_sha256)
    with await anyio.to_thread.run_sync(platform.files.begin, filename, purpose) as incoming:
        held = bytearray()
        async for chunk in request.stream():
            held += chunk
            if len(held) >= _BLOCK:
                await anyio.to_thread.run_sync(incoming.write, bytes(held))
                held.clear()
        if held:
            await anyio.to_thread.run_sync(incoming.write, bytes(held))
        stored = await anyio.to_thread.run_sync(incoming.commit, x_content_sha256)
    metrics.uploaded.inc(stored.bytes)
    return reply(stored, 201)


def _check_digest(text: str | None) -> None:
    if text is not None and not _SHA256.fullmatch(text.strip()):
        raise OptionError(
            f"{text[:80]!r} is no SHA-256.", "Send 64 hexadecimal digits.", field="X-Content-SHA256", value=text
        )


@router.get(
    "/files",
    response_model=Page[StoredFile],
    summary="List files",
    responses={**shown(examples.FILES), **guarded(404)},
)
def list_files(
    platform: ThePlatform,
    purpose: Annotated[str | None, Query(max_length=50)] = None,
    after: Annotated[str | None, Query(max_length=100, description="The `next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
) -> Response:
    """Newest first."""
    return reply(platform.files.list(purpose=purpose, after=after, limit=limit))


@router.get(
    "/files/{file_id}",
    response_model=StoredFile,
    summary="Show a file",
    responses={**shown(examples.FILE), **guarded(404)},
)
def get_file(platform: ThePlatform, file_id: FileId) -> Response:
    """Its name, size and checksum."""
    return reply(platform.files.get(file_id))


@router.get(
    "/files/{file_id}/content",
    response_class=Response,
    summary="Download a file",
    responses={**bytes_of("The bytes as they were sent."), **guarded(404, 416)},
)
def get_content(platform: ThePlatform, file_id: FileId) -> Response:
    """The file's bytes; a Range header gets a part."""
    return Download(platform.files.path(file_id), platform.files.get(file_id).filename)


@router.get(
    "/files/{file_id}/rows",
    response_model=RowPreview,
    summary="Look at some rows",
    responses={**shown(examples.ROWS), **guarded(404)},
)
async def get_rows(
    platform: ThePlatform,
    slow: TheSlow,
    file_id: FileId,
    offset: Annotated[int, Query(ge=0, le=2**40)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
) -> Response:
    """Rows as they are read, with the format that was recognised."""
    return reply(await slow(platform.files.rows, file_id, offset=offset, limit=limit))


@router.get(
    "/files/{file_id}/texts",
    response_model=RowTextsPage,
    summary="Look at some rows as they are understood",
    responses={**shown(examples.TEXTS), **guarded(404)},
)
async def get_texts(
    platform: ThePlatform,
    slow: TheSlow,
    file_id: FileId,
    offset: Annotated[int, Query(ge=0, le=2**40)] = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    """Prompt and answers of each row, whatever the file's format; or what is wrong with the row."""
    return reply(await slow(platform.files.texts, file_id, offset=offset, limit=limit))


@router.get(
    "/files/{file_id}/tokens",
    response_model=RowTokensPage,
    summary="Look at some rows as tokens",
    responses=guarded(404),
)
async def get_tokens(
    platform: ThePlatform,
    slow: TheSlow,
    file_id: FileId,
    model: Annotated[
        str, Query(max_length=500, description="Whose tokenizer and template.", examples=[examples.MODEL])
    ],
    seq_length: Annotated[int, Query(ge=8, le=1_048_576)] = 128,
    offset: Annotated[int, Query(ge=0, le=2**40)] = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    """Prompt and answers as the model gets them; tokens that `seq_length` cuts are marked."""
    call = platform.files.tokens
    return reply(await slow(call, file_id, model=model, seq_length=seq_length, offset=offset, limit=limit))


@router.get(
    "/files/{file_id}/report",
    response_model=dict[str, Any],
    summary="Check a file",
    responses=guarded(404),
)
async def get_report(
    platform: ThePlatform,
    slow: TheSlow,
    file_id: FileId,
    model: Annotated[str | None, Query(max_length=500, description="Count tokens as this model does.")] = None,
    data_format: Annotated[DataFormat | None, Query()] = None,
    safe_rlhf_preference: Annotated[str | None, Query(pattern="^(better|safer)$")] = None,
    seq_length: Annotated[int | None, Query(ge=8, le=1_048_576)] = None,
    system_prompt: Annotated[str | None, Query(max_length=20_000)] = None,
    apply_chat_template: Annotated[bool | None, Query()] = None,
) -> Response:
    """The data report: usable and bad rows, duplicates, lengths, what would be cut, and warnings."""
    asked = {
        "data_format": data_format,
        "safe_rlhf_preference": safe_rlhf_preference,
        "seq_length": seq_length,
        "system_prompt": system_prompt,
        "apply_chat_template": apply_chat_template,
    }
    options = {name: value for name, value in asked.items() if value is not None}
    report = await slow(platform.files.report, file_id, model=model, options=options)
    return Response(orjson.dumps(report), media_type="application/json")


@router.delete("/files/{file_id}", status_code=204, summary="Delete a file", responses=guarded(404, 409))
def delete_file(platform: ThePlatform, file_id: FileId) -> Response:
    """Refused while a job that is not over reads it. Finished jobs keep their inputs."""
    platform.files.delete(file_id)
    return Response(status_code=204)
