"""Keeping a folder of converted models small: what was used longest ago goes first, and never what is in use.

A process that uses a model holds a shared lock beside its folder for as long as it lives; the kernel lets go of it
however the process ends. Only who gets that lock alone may remove the folder.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from pathlib import Path

_USE = ".use"
_log = logging.getLogger(__name__)
_held: dict[Path, int] = {}


def hold(folder: Path) -> None:
    """Keep `folder` until this process ends; waits for one that is removing it."""
    file = folder.with_suffix(_USE)
    if folder not in _held:
        _held[folder] = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(_held[folder], fcntl.LOCK_SH)
    os.utime(file)


def shrink(parent: Path, most_bytes: int) -> None:
    """Remove models in `parent` until they take no more than `most_bytes`, or all that are left are in use."""
    folders = [folder for folder in parent.iterdir() if folder.is_dir() and not folder.name.startswith(".")]
    sizes = {folder: _size(folder) for folder in folders}
    total = sum(sizes.values())
    for folder in sorted(folders, key=_last_use):
        if total <= most_bytes:
            return
        if _removed(folder):
            total -= sizes[folder]
            _log.info("removed %s, which was used longest ago", folder)


def _removed(folder: Path) -> bool:
    """Remove a folder that nobody uses; whether it is gone."""
    lock = os.open(folder.with_suffix(_USE), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        going = folder.with_name(f".going-{folder.name}")
        shutil.rmtree(going, ignore_errors=True)
        folder.rename(going)  # never half there under its own name
        shutil.rmtree(going, ignore_errors=True)
    except OSError:  # it is in use, or somebody else removed it
        return False
    finally:
        os.close(lock)
    return True


def _last_use(folder: Path) -> float:
    file = folder.with_suffix(_USE)
    return file.stat().st_mtime if file.exists() else folder.stat().st_mtime


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
