"""The folder that a program works in: its own while it runs, and gone again where nothing came of it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from quickalign.core import storage
from quickalign.core.errors import OptionError

_LOCK = ".lock"
_BEFORE_ANY_WORK = {_LOCK, "spec.json"}


@contextmanager
def working_folder(path: Path, taken: OptionError, *, patience: float = 0.0) -> Iterator[None]:
    """Make `path` where it does not exist, and hold it for the length of the block.

    Where the block fails before it has computed anything, the folders that were made for it are removed: a mistyped
    model leaves nothing behind.

    Args:
        path: the folder.
        taken: raised where another process holds it.
        patience: seconds to wait for that process.

    Raises:
        StorageError: the folder cannot be made or written to.
    """
    new = [folder for folder in (path, *path.parents) if not folder.exists()]
    storage.make_folder(path)
    lock = FileLock(path / _LOCK)
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        raise taken from None
    try:
        yield
    except BaseException:
        if new and _is_untouched(path):
            _remove(new)
        raise
    finally:
        lock.release()


def _is_untouched(path: Path) -> bool:
    return all(found.is_dir() or found.name in _BEFORE_ANY_WORK for found in path.rglob("*"))


def _remove(folders: list[Path]) -> None:
    """Remove the first of `folders`, and those above it as far as nothing else is in them."""
    shutil.rmtree(folders[0], ignore_errors=True)
    for folder in folders[1:]:
        try:
            folder.rmdir()
        except OSError:
            return
