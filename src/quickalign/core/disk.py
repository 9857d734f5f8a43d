"""How much room a disk has, and a full one said in a sentence."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quickalign.core.errors import FullDiskError, StorageError

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def explained(place: Path) -> Iterator[None]:
    """Turn the error of a full disk inside the block, which writes to `place`, into one that says what to do.

    Raises:
        FullDiskError: a disk is full.
    """
    try:
        yield
    except Exception as error:
        if not is_full(error):
            raise
        raise FullDiskError(
            f"A disk is full: that of {place}, of the home folder, or of temporary files.",
            "Free some space and run the same command again: it goes on.",
        ) from error


def free_bytes(place: Path) -> int:
    """Bytes free on the disk where `place` is or will be."""
    there = place.expanduser().absolute()
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free


def demand(place: Path, wanted: int) -> None:
    """Check that `wanted` bytes are free where `place` is or will be.

    Raises:
        StorageError: they are not.
    """
    if (free := free_bytes(place)) < wanted:
        raise StorageError(
            f"{place} will take about {wanted / 1e9:.2f} GB, and its disk has {free / 1e9:.2f} GB free.",
            "Free some space, or name another folder.",
        )


def is_full(error: BaseException) -> bool:
    """Whether the error is that of a full disk, or of a quota that is used up."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    # the writer of safetensors files tells the system's error in words only
    return any(f"os error {number}" in str(error) for number in _FULL)
