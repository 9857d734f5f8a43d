"""Files that are either whole or absent: written beside their place, synced, then renamed."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from quickalign.core import paths

TEMPORARY_PREFIX = ".tmp-"


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a crash at any moment leaves the old file or the new one, never a part."""
    paths.make_folder(path.parent)
    temporary = path.parent / f"{TEMPORARY_PREFIX}{path.name}-{os.getpid()}"
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_text(path: Path, content: str) -> None:
    """`write_bytes` for UTF-8 text."""
    write_bytes(path, content.encode())


def create_once(path: Path, content: bytes) -> bytes:
    """Make the file with `content` where there is none, readable by its owner only; returns what it holds then.

    Of several processes that do so at once, one makes it and all get the same.
    """
    descriptor, name = tempfile.mkstemp(prefix=f"{TEMPORARY_PREFIX}{path.name}-", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        with suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path.read_bytes()


@contextmanager
def folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `path` (replacing it) only when the block ends without an error."""
    paths.make_folder(path.parent)
    temporary = path.parent / f"{TEMPORARY_PREFIX}{path.name}-{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                sync_file(file)
        sync_folder(temporary)
        _replace_folder(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync_folder(path.parent)


def remove_folder(path: Path) -> None:
    """Delete the folder `path` so that a crash leaves it whole or gone, and at most a leftover beside it."""
    shutil.rmtree(_move_aside(path), ignore_errors=True)


def remove_leftovers(parent: Path) -> None:
    """Delete what a killed process left half-written in `parent`."""
    for leftover in parent.glob(f"{TEMPORARY_PREFIX}*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def remove_leftovers_of(path: Path) -> None:
    """Delete what killed processes left half-written of `path`; what a living one is writing stays."""
    for leftover in path.parent.glob(f"{TEMPORARY_PREFIX}{path.name}-*"):
        pid = leftover.name.rpartition("-")[2]
        if pid.isdigit() and not _is_alive(int(pid)):
            shutil.rmtree(leftover, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it lives, and is another user's
        return True
    return True


def _replace_folder(new: Path, path: Path) -> None:
    """Rename `new` to `path`; an old folder is moved aside first, because a rename cannot replace a full one."""
    if not path.exists():
        new.rename(path)
        return
    aside = _move_aside(path)
    new.rename(path)
    shutil.rmtree(aside, ignore_errors=True)


def _move_aside(path: Path) -> Path:
    """Rename `path` to what counts as a leftover; returns that."""
    aside = path.parent / f"{TEMPORARY_PREFIX}old-{path.name}-{os.getpid()}"
    shutil.rmtree(aside, ignore_errors=True)
    path.rename(aside)
    return aside


def sync_file(path: Path) -> None:
    """Return when the file's content is on the disk."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def sync_folder(path: Path) -> None:
    """Return when the names in the folder are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
