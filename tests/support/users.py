"""Permissions as they are for a user who may not do everything, also where the tests run as root."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NOBODY = 65534


@contextmanager
def open_folder() -> Iterator[Path]:
    """A temporary folder that every user can get into, which pytest's own is not."""
    folder = Path(tempfile.mkdtemp(prefix="quickalign-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def ordinary_user() -> Iterator[None]:
    """This process as nobody where it is root, else as it is."""
    if os.geteuid():
        yield
        return
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def set_writable(root: Path, *, writable: bool) -> None:
    """Take the right to write from a folder and all that is in it, or give it back; everybody may read."""
    for path in (root, *root.rglob("*")):
        path.chmod((0o555 if path.is_dir() else 0o444) | (0o200 if writable else 0))
