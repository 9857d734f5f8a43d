"""The remote half of `core/storage.py`: s3fs for `s3://` and `oss://`, huggingface_hub for `hf://`.

The libraries are imported on first use, because most runs read local files only.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quickalign.core import remote_access, remote_errors
from quickalign.core.errors import StorageError

_BLOCK = 8 << 20
_PAI_HOST = re.compile(r"(?P<bucket>[a-z0-9][a-z0-9-]+)\.(?P<endpoint>(?:s3\.)?oss-[a-z0-9-]+\.aliyuncs\.com)")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file in a remote store; `size` in bytes, None where the store does not tell."""

    path: str
    size: int | None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a URI points: a file system and the path in it."""

    uri: str
    scheme: str
    path: str
    filesystem: Any
    access: remote_access.Access


def find(uri: str) -> RemoteFile | None:
    """The file at `uri`, or None where it, its bucket or its repository does not exist, or it is a folder."""
    place = _place(uri)
    with _errors(place):
        try:
            entry = place.filesystem.info(place.path)
        except FileNotFoundError as error:
            if remote_errors.is_refusal(error):
                raise
            return None
    return RemoteFile(place.path, entry.get("size")) if entry["type"] == "file" else None


def info(uri: str) -> RemoteFile:
    """The file at `uri`. Raises StorageError where there is none."""
    place = _place(uri)
    with _errors(place):
        return _info(place)


def open_stream(uri: str) -> io.RawIOBase:
    """A seekable stream over the file's bytes that reads ahead in blocks; its errors are StorageErrors."""
    place = _place(uri)
    with _errors(place):
        _info(place)  # s3fs opens a folder as an empty file
        stream = place.filesystem.open(place.path, "rb", block_size=_BLOCK, cache_type="readahead")
    return _GuardedStream(stream, place)


def upload(local: Path, uri: str) -> None:
    """Write the local file to `uri`; the object appears when it is complete."""
    place = _place(uri)
    if place.scheme == "hf":
        raise StorageError(f"{uri} cannot be written: hf:// is for reading.", "Write to a local path, s3:// or oss://.")
    with _errors(place):
        place.filesystem.put_file(str(local), place.path)


def _info(place: _Place) -> RemoteFile:
    entry = place.filesystem.info(place.path)
    if entry["type"] != "file":
        raise StorageError(f"{place.uri} is a folder, not a file.", "Name a file inside it.")
    return RemoteFile(place.path, entry.get("size"))


def _place(uri: str) -> _Place:
    head, _, rest = uri.partition("://")
    scheme = head.lower()
    if scheme == "hf":
        return _hf_place(uri, rest)
    bucket, _, key = rest.partition("/")
    if not bucket or not key:
        raise StorageError(f"{uri} does not name a file.", f"Write {scheme}://bucket/path/to/file.")
    endpoint = None
    # The form with the endpoint in the host is what PAI's console and SDK write; only Alibaba Cloud's hosts pass.
    if scheme == "oss" and (match := _PAI_HOST.fullmatch(bucket)):
        bucket, endpoint = match["bucket"], match["endpoint"]
    access = remote_access.s3_access() if scheme == "s3" else remote_access.oss_access(endpoint)
    return _Place(uri, scheme, f"{bucket}/{key}", remote_access.s3_filesystem(access), access)


def _hf_place(uri: str, rest: str) -> _Place:
    if rest.count("/") < (3 if rest.startswith(("datasets/", "spaces/")) else 2) or rest.endswith("/"):
        raise StorageError(f"{uri} does not name a file.", "Write hf://datasets/owner/name/path/to/file.")
    access = remote_access.hf_access()
    return _Place(uri, "hf", rest, remote_access.hf_filesystem(access), access)


@contextmanager
def _errors(place: _Place) -> Iterator[None]:
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        raise remote_errors.storage_error(place.uri, place.access, error) from None


class _GuardedStream(io.RawIOBase):
    """Passes reads on and turns whatever the library raises, also in the middle of a file, into a StorageError."""

    def __init__(self, stream: Any, place: _Place) -> None:
        self._stream = stream
        self._place = place

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _errors(self._place):
            content = self._stream.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with _errors(self._place):
            return int(self._stream.seek(offset, whence))

    def tell(self) -> int:
        return int(self._stream.tell())

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()
