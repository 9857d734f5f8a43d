"""Files by path or URI: a local path, `file://`, `s3://`, `oss://` or `hf://`.

Remote files are streamed, never copied to the disk first. Credentials and endpoints come from the environment alone
(see `core/remote.py`), so that a path in a form or a request can never choose where a secret is sent.
"""

import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import unquote, urlsplit

from quickalign.core import disk, remote
from quickalign.core.atomic import TEMPORARY_PREFIX
from quickalign.core.errors import StorageError

SCHEMES = ("file", "s3", "oss", "hf")
"""The URI schemes that are understood; a text without `://` is a local path."""

_BUFFER = 1 << 20


def scheme_of(uri: str) -> str:
    """The lower-case scheme of `uri`, `file` for a plain path.

    Raises:
        StorageError: the scheme is none of `SCHEMES`, or credentials stand where the bucket belongs.
    """
    head, separator, rest = uri.partition("://")
    if not separator or "/" in head:
        return "file"
    scheme = head.lower()
    if scheme not in SCHEMES:
        allowed = ", ".join(f"{name}://" for name in SCHEMES)
        raise StorageError(
            f"{uri!r} has the scheme {head!r}, which is not one that can be read.", f"Use a local path or {allowed}."
        )
    bucket = rest.partition("/")[0]
    if scheme in ("s3", "oss") and not bucket.startswith("arn:") and ("@" in bucket or ":" in bucket):
        raise StorageError(  # before anything keeps it; and it is not said again
            f"A URI of the scheme {scheme} has credentials or an address where its bucket belongs.",
            f"Write {scheme}://bucket/path/to/file: credentials and endpoints are taken from the environment alone.",
        )
    return scheme


def local_path(uri: str) -> Path | None:
    """The path of a local `uri` (plain or `file://`), with `~` expanded; None for a remote one."""
    if scheme_of(uri) != "file":
        return None
    if "\0" in uri:
        raise StorageError(f"{uri!r} holds a NUL character.", "Check the path.")
    if not uri.lower().startswith("file://"):
        if not uri:
            raise StorageError("The path is empty.", "Give the path of a file.")
        return _expanded(uri)
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost"):
        raise StorageError(
            f"{uri!r} names the machine {parts.netloc!r}, and file:// reads this machine only.",
            "Write three slashes before an absolute path, as in file:///data/train.json.",
        )
    return Path(unquote(uri[len("file://") + len(parts.netloc) :]))


def exists(uri: str) -> bool:
    """Whether `uri` is a readable file. Refused access and an unreachable store are errors, not "no".

    Raises:
        StorageError: nobody can say, for example without permission.
    """
    path = local_path(uri)
    if path is not None:
        with _local_errors(uri):
            return path.exists() and not path.is_dir()
    return remote.find(uri) is not None


def size(uri: str) -> int | None:
    """The size of the file in bytes; None where the store does not tell.

    Raises:
        StorageError: the file does not exist, is a folder, or cannot be reached.
    """
    path = local_path(uri)
    if path is None:
        return remote.info(uri).size
    with _local_errors(uri):
        stat = path.stat()
        # A pipe or a device has no size; its length is known only when it ends.
        return stat.st_size if _file(path, uri).is_file() else None


@contextmanager
def open_binary(uri: str) -> Iterator[BinaryIO]:
    """Open the file for reading; remote files are streamed in blocks and can be seeked in.

    Raises:
        StorageError: at opening or while reading: the file does not exist, is a folder, access is refused, or the store
            cannot be reached.
    """
    path = local_path(uri)
    if path is not None:
        with _local_errors(uri):
            stream = _file(path, uri).open("rb")
        with stream:
            yield stream
        return
    with io.BufferedReader(remote.open_stream(uri), _BUFFER) as buffered:
        yield cast(BinaryIO, buffered)


def make_folder(path: Path) -> None:
    """Make the local folder `path`, which results are going to be written to, where it does not exist.

    Raises:
        StorageError: it cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(path, os.W_OK | os.X_OK) else "permission denied"
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
    if reason:
        raise StorageError(f"The folder {path} cannot be written to: {reason}.", "Name another folder.")


def check_folder(path: Path) -> None:
    """Refuse a local folder that could not be made or written to, before the work whose results are to go there.

    Raises:
        StorageError: as of `make_folder`.
    """
    there = path
    while not os.path.exists(there):  # noqa: PTH110 - what may not be looked at counts as not there
        there = there.parent
    if not there.is_dir():
        raise StorageError(f"The folder {path} cannot be written to: {there} is a file.", "Name another folder.")
    if not os.access(there, os.W_OK | os.X_OK, effective_ids=True):
        raise StorageError(f"The folder {path} cannot be written to: permission denied.", "Name another folder.")


def write_file(local: Path, uri: str) -> None:
    """Copy the local file to `uri`, replacing what is there; a reader sees the old file or the whole new one.

    Raises:
        StorageError: the source is missing, or the target cannot be written.
    """
    with _local_errors(str(local)):
        _file(local, str(local)).stat()
    path = local_path(uri)
    if path is None:
        remote.upload(local, uri)
        return
    with _local_errors(uri), disk.explained(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f"{TEMPORARY_PREFIX}{path.name}-{os.getpid()}"
        try:
            shutil.copyfile(local, temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def check_regular(path: Path, uri: str) -> None:
    """Refuse what has to be read twice, or by another process, and is a device or a pipe: that may have no end, and no
    content a second time.

    Raises:
        StorageError: it is one, or cannot be accessed.
    """
    with _local_errors(uri):
        if path.exists() and not path.is_file() and not path.is_dir():
            raise StorageError(
                f"{uri} is a device or a pipe, not a file.", "Write what comes from it to a file, and name that one."
            )


def _expanded(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise StorageError(f"{text} names the home of a user that does not exist.", "Write the whole path.") from None


def _file(path: Path, uri: str) -> Path:
    if path.is_dir():
        raise StorageError(f"{uri} is a folder, not a file.", "Name a file inside it.")
    return path


@contextmanager
def _local_errors(uri: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise StorageError(
            f"{uri} does not exist.", "Check the path; relative paths start at the current folder."
        ) from None
    except PermissionError:
        raise StorageError(f"{uri} cannot be accessed: permission denied.", "Check who owns the file.") from None
    except OSError as error:
        raise StorageError(f"{uri} cannot be accessed: {error.strerror or error}.", "Check the path.") from None
