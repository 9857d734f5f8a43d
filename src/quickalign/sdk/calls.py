"""The calls of the native API, one method each, with the wire's types."""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import httpx

from quickalign.core import storage
from quickalign.core.checksums import sha256_of
from quickalign.core.errors import StorageError
from quickalign.core.wire.base import Page
from quickalign.core.wire.files import RowPreview, StoredFile
from quickalign.core.wire.jobs import (
    Checkpoint,
    Estimate,
    EstimateRequest,
    Event,
    Job,
    JobState,
    Kind,
    LogChunk,
    MetricsPage,
    NewJob,
)
from quickalign.core.wire.pages import all_items
from quickalign.core.wire.system import ModelDetail, ModelSummary, SystemInfo
from quickalign.sdk.client import Client, parsed

_BLOCK = 1 << 20
_UPLOAD = "application/octet-stream"

Progress = Callable[[int, int | None], None]
"""Told of bytes done and bytes in all."""


class Jobs:
    """Jobs of a server."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, request: NewJob, *, key: str | None = None) -> Job:
        """Make a job. The same `key` makes one job however often it is sent; a fresh one is taken when None."""
        named = request if request.kind == "train" else request.model_copy(update={"kind": request.kind})
        return self._client.post("/jobs", Job, named, key=key or uuid.uuid4().hex)  # what is at its default is not sent

    def get(self, job_id: str) -> Job:
        """One job as it stands."""
        return self._client.get(_job(job_id), Job)

    def list(
        self,
        *,
        states: Iterable[JobState] = (),
        kinds: Iterable[Kind] = (),
        model: str | None = None,
        text: str | None = None,
        labels: Mapping[str, str] | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> Page[Job]:
        """A page of jobs, newest first."""
        query: dict[str, Any] = {"state": [state.value for state in states] or None, "model": model, "text": text}
        query["kind"] = list(kinds) or None
        query["label"] = [f"{key}={value}" for key, value in (labels or {}).items()] or None
        return self._client.get("/jobs", Page[Job], **query, after=after, limit=limit)

    def all(self, *, states: Iterable[JobState] = (), page_size: int = 100, **filters: Any) -> Iterator[Job]:
        """All jobs that match, newest first, fetched page by page."""
        wanted = tuple(states)
        return all_items(lambda after: self.list(states=wanted, limit=page_size, after=after, **filters))

    def cancel(self, job_id: str) -> Job:
        """Stop a job for good; a checkpoint of what it did is kept."""
        return self._client.post(f"{_job(job_id)}/cancel", Job)

    def pause(self, job_id: str) -> Job:
        """Stop a job until `resume`."""
        return self._client.post(f"{_job(job_id)}/pause", Job)

    def resume(self, job_id: str) -> Job:
        """Go on with a paused or failed job."""
        return self._client.post(f"{_job(job_id)}/resume", Job)

    def clone(self, job_id: str, changes: Mapping[str, Any] | None = None, *, key: str | None = None) -> Job:
        """Make a job like another one, with changed fields; those of `spec` are merged. `key` is as of `create`."""
        return self._client.post(f"{_job(job_id)}/clone", Job, dict(changes or {}), key=key or uuid.uuid4().hex)

    def delete(self, job_id: str) -> None:
        """Delete a job that is over, with its folder."""
        self._client.delete(_job(job_id))

    def events(self, job_id: str, *, after: int = 0, limit: int | None = None) -> Page[Event]:
        """What happened, oldest first, after the event of number `after`."""
        return self._client.get(f"{_job(job_id)}/events", Page[Event], after=after, limit=limit)

    def logs(self, job_id: str, *, offset: int = 0, limit: int | None = None) -> LogChunk:
        """A piece of the log."""
        return self._client.get(f"{_job(job_id)}/logs", LogChunk, offset=offset, limit=limit)

    def metrics(
        self,
        job_id: str,
        *,
        kind: Literal["steps", "evaluations"] = "steps",
        offset: int = 0,
        limit: int | None = None,
    ) -> MetricsPage:
        """Lines of the metrics."""
        return self._client.get(f"{_job(job_id)}/metrics", MetricsPage, kind=kind, offset=offset, limit=limit)

    def checkpoints(self, job_id: str) -> tuple[Checkpoint, ...]:
        """The checkpoints that are kept."""
        return self._client.get(f"{_job(job_id)}/checkpoints", Page[Checkpoint]).items

    def artifact(self, job_id: str, name: str) -> bytes:
        """One file of the job's results, such as `report.html`."""
        return self._client.call("GET", f"{_job(job_id)}/artifacts/{quote(name)}").content


class Files:
    """Files of a server."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def upload(
        self, path: Path, *, filename: str | None = None, purpose: str = "fine-tune", progress: Progress | None = None
    ) -> StoredFile:
        """Send a local file, streamed; its SHA-256 goes along, so that what arrives is what was read.

        Raises:
            StorageError: it cannot be read, or is a device or a pipe.
        """
        storage.check_regular(path, str(path))
        try:
            size, digest = path.stat().st_size, sha256_of(path)
        except OSError as error:
            raise StorageError(f"{path} cannot be uploaded: {error.strerror or error}.", "Check the path.") from None
        response = self._client.call(
            "POST",
            "/files",
            query={"filename": filename or path.name, "purpose": purpose},
            body=lambda: _blocks(path, size, progress),
            headers={"Content-Type": _UPLOAD, "Content-Length": str(size), "X-Content-SHA256": digest},
        )
        return parsed(StoredFile, response)

    def get(self, file_id: str) -> StoredFile:
        """One file's record."""
        return self._client.get(_file(file_id), StoredFile)

    def list(
        self, *, purpose: str | None = None, after: str | None = None, limit: int | None = None
    ) -> Page[StoredFile]:
        """A page of files, newest first."""
        return self._client.get("/files", Page[StoredFile], purpose=purpose, after=after, limit=limit)

    def download(self, file_id: str, to: Path) -> int:
        """Write a file's content to `to`, streamed; returns its bytes. A file that is cut off is not left there."""
        partial = to.with_name(f".{to.name}.part")
        try:
            with (
                self._client.stream(f"{_file(file_id)}/content", query={}, timeout=httpx.Timeout(60.0)) as response,
                partial.open("wb") as target,
            ):
                for block in response.iter_bytes(_BLOCK):
                    target.write(block)
            size = partial.stat().st_size
            partial.replace(to)
        except OSError as error:
            raise StorageError(f"{to} cannot be written: {error.strerror or error}.", "Check the path.") from None
        except httpx.TransportError as error:
            raise StorageError(f"The download of {file_id} was cut off ({error}).", "Start it again.") from None
        finally:
            partial.unlink(missing_ok=True)
        return size

    def rows(self, file_id: str, *, offset: int = 0, limit: int | None = None) -> RowPreview:
        """Some rows, as they are read."""
        return self._client.get(f"{_file(file_id)}/rows", RowPreview, offset=offset, limit=limit)

    def report(self, file_id: str, *, model: str | None = None, **options: Any) -> dict[str, Any]:
        """The data report, as a training run of `model` with these options would make it."""
        answer = self._client.call("GET", f"{_file(file_id)}/report", query={"model": model, **options}).json()
        assert isinstance(answer, dict)
        return answer

    def delete(self, file_id: str) -> None:
        """Delete a file that no job reads any more."""
        self._client.delete(_file(file_id))


class Models:
    """Model cards that a server knows."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self, *, text: str | None = None, method: str | None = None) -> tuple[ModelSummary, ...]:
        """All cards that match."""
        return self._client.get("/models", Page[ModelSummary], text=text, method=method).items

    def get(self, name: str) -> ModelDetail:
        """One card in full."""
        return self._client.get(f"/models/{quote(name, safe='')}", ModelDetail)


class Server:
    """What a server says of itself and of what jobs would need."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def info(self) -> SystemInfo:
        """Versions, devices and the queue."""
        return self._client.get("/system", SystemInfo)

    def estimate(self, request: EstimateRequest) -> Estimate:
        """What a job would need, before it is made."""
        return self._client.post("/estimates", Estimate, request)


def job_page(endpoint: str, job_id: str) -> str:
    """Where people look at a job: its page in the console."""
    return endpoint + "/console" + _job(job_id)


def _job(job_id: str) -> str:
    return f"/jobs/{quote(job_id, safe='')}"


def _file(file_id: str) -> str:
    return f"/files/{quote(file_id, safe='')}"


def _blocks(path: Path, size: int, progress: Progress | None) -> Iterator[bytes]:
    done = 0
    with path.open("rb") as stream:
        # a file that grows meanwhile is sent as long as it was announced
        while done < size and (block := stream.read(min(_BLOCK, size - done))):
            yield block
            done += len(block)
            if progress:
                progress(done, size)
