"""`/v1/files`."""

import errno
from typing import Annotated

import anyio
from fastapi import APIRouter, Path, Query, Request
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import Response

from quickalign.api.access import TheMetrics, ThePlatform
from quickalign.api.native.downloads import Download
from quickalign.api.openai import ids, objects, results
from quickalign.api.openai.pages import answer, page
from quickalign.core.errors import OptionError, StorageError
from quickalign.core.wire.files import StoredFile
from quickalign.core.wire.pages import all_items
from quickalign.platform import Platform

router = APIRouter()

FileId = Annotated[str, Path(max_length=100)]
_BLOCK, _PAGE = 1 << 20, 1000


@router.post("/files")
async def create_file(request: Request, platform: ThePlatform, metrics: TheMetrics) -> Response:
    """Upload a file by a form with the parts `file` and `purpose`, which waits on the disk and is then taken over."""
    form = await _form(request)
    try:
        file, purpose = _parts(form)
        stored = await anyio.to_thread.run_sync(_store, platform, file, purpose)
    finally:
        await form.close()
    metrics.uploaded.inc(stored.bytes)
    return answer(objects.of_file(stored))


async def _form(request: Request) -> FormData:
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise OptionError("The body is no form.", "Send multipart/form-data with the parts file and purpose.")
    try:
        return await request.form(max_files=1, max_fields=8, max_part_size=4096)
    except HTTPException:
        raise
    except OSError as error:
        why = "its disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else str(error.strerror)
        raise StorageError(f"The server cannot hold the file: {why}.", "Let the operator make room.") from None
    except (UnicodeError, LookupError, ValueError):
        raise OptionError("The form cannot be read.", "Send multipart/form-data as RFC 7578 says.") from None


def _parts(form: FormData) -> tuple[UploadFile, str]:
    for name in form:
        if name not in ("file", "purpose"):
            raise OptionError(f"{name[:100]!r} is not supported by this server.", "Leave it out.", field=name[:100])
    file, purpose = form.get("file"), form.get("purpose")
    if not isinstance(file, UploadFile):
        raise OptionError("The form has no file.", "Send the file as the part 'file'.", field="file")
    if not isinstance(purpose, str):
        raise OptionError("The form has no purpose.", "Send 'fine-tune'.", field="purpose")
    return file, purpose


def _store(platform: Platform, file: UploadFile, purpose: str) -> StoredFile:
    with platform.files.begin(file.filename or "upload", purpose) as incoming:
        while block := file.file.read(_BLOCK):
            incoming.write(block)
        return incoming.commit()


@router.get("/files")
def list_files(
    platform: ThePlatform,
    after: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Annotated[str, Query(pattern="^(asc|desc)$")] = "desc",
    purpose: Annotated[str | None, Query(max_length=50)] = None,
) -> Response:
    """All files, or those of a purpose; newest first unless asked otherwise."""
    if order == "desc":
        found, more = _newest(platform, purpose, after, limit)
    else:
        found, more = _oldest(platform, purpose, after, limit)
    return page([objects.of_file(file) for file in found], more=more)


def _newest(platform: Platform, purpose: str | None, after: str | None, limit: int) -> tuple[list[StoredFile], bool]:
    found: list[StoredFile] = []
    while len(found) < limit:
        part = platform.files.list(purpose=purpose, after=after, limit=min(_PAGE, limit - len(found)))
        found += part.items
        after = part.next
        if after is None:
            return found, False
    return found, True


def _oldest(platform: Platform, purpose: str | None, after: str | None, limit: int) -> tuple[list[StoredFile], bool]:
    every = [*all_items(lambda cursor: platform.files.list(purpose=purpose, after=cursor, limit=_PAGE))][::-1]
    if after is not None:
        platform.files.get(after)  # one that there is not is refused; one of another purpose has nothing after it
        listed = [file.id for file in every]
        every = every[listed.index(after) + 1 :] if after in listed else []
    return every[:limit], len(every) > limit


@router.get("/files/{file_id}")
def retrieve_file(platform: ThePlatform, file_id: FileId) -> Response:
    """One file, or a job's results."""
    if (job_id := ids.to_results(file_id)) is not None:
        job, path = results.metrics_of(platform, job_id, file_id)
        return answer(objects.of_results(job, path.stat().st_size))
    return answer(objects.of_file(platform.files.get(file_id)))


@router.get("/files/{file_id}/content")
def file_content(platform: ThePlatform, file_id: FileId) -> Response:
    """A file's bytes."""
    if (job_id := ids.to_results(file_id)) is not None:
        return Download(results.metrics_of(platform, job_id, file_id)[1], "metrics.jsonl")
    return Download(platform.files.path(file_id), platform.files.get(file_id).filename)


@router.delete("/files/{file_id}")
def delete_file(platform: ThePlatform, file_id: FileId) -> Response:
    """Delete a file."""
    if ids.to_results(file_id) is not None:
        raise results.refuse_deletion(file_id)
    platform.files.delete(file_id)
    return answer({"id": file_id, "object": "file", "deleted": True})
