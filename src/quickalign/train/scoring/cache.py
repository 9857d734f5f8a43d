"""The reference cache on disk: a file of log-probs for every base model, precision and way of scoring.

What is stored depends on content alone, so a second run with another beta, seed or learning rate finds all of it. A
file that was not used for the longest time goes first when the cache outgrows its bound.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from quickalign.core import atomic, paths
from quickalign.train.scoring.records import RECORD, RecordFile, lock_of, read_records

DEFAULT_MAX_BYTES = 1 << 30
_SUFFIX = ".logps"


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One file of the cache: what it is for, how large it is, and when it was last used (seconds since 1970)."""

    identity: Mapping[str, str]
    records: int
    damaged: int
    bytes: int
    last_used: float


class ReferenceCache:
    """The folder of record files, at most about `max_bytes` large."""

    def __init__(self, folder: Path | None = None, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self.folder = folder or paths.reference_cache()
        self._max_bytes = max_bytes

    def open(self, identity: Mapping[str, str]) -> RecordFile:
        """The record file for `identity`: base fingerprint, precision, quantisation, scoring; other files make room."""
        text = json.dumps(dict(identity), sort_keys=True)
        path = self.folder / (hashlib.blake2b(text.encode(), digest_size=16).hexdigest() + _SUFFIX)
        self.prune(self._max_bytes, keep=path)
        atomic.write_text(path.with_suffix(".json"), text)
        if path.exists():
            os.utime(path)
        return RecordFile(path)

    def has_room(self) -> bool:
        """Whether the cache is below its bound."""
        return sum(_size(path) for path in self._files()) < self._max_bytes

    def stats(self) -> list[CacheEntry]:
        """All files, the last used first."""
        entries = []
        for path in self._files():
            records, damaged = read_records(path)
            identity = _identity(path)
            entries.append(CacheEntry(identity, len(records), damaged, len(records) * RECORD.itemsize, _used(path)))
        return sorted(entries, key=lambda entry: -entry.last_used)

    def clear(self) -> int:
        """Delete everything; returns the bytes that were freed."""
        return self.prune(0)

    def prune(self, max_bytes: int, *, keep: Path | None = None) -> int:
        """Delete the files that were not used for the longest time until `max_bytes` are left; returns bytes freed.

        Args:
            max_bytes: what may stay.
            keep: a file that is not deleted.
        """
        files = sorted((path for path in self._files()), key=_used)
        total, freed = sum(map(_size, files)), 0
        for path in files:
            if total - freed <= max_bytes and max_bytes > 0:
                break
            if path == keep:
                continue
            freed += _size(path)
            _delete(path)
        return freed

    def _files(self) -> list[Path]:
        return list(self.folder.glob(f"*{_SUFFIX}"))


def _delete(path: Path) -> None:
    """Delete a record file and what belongs to it; a run that holds its content in memory goes on unharmed."""
    with lock_of(path):
        path.unlink(missing_ok=True)
        path.with_suffix(".json").unlink(missing_ok=True)
    lock_path = Path(lock_of(path).lock_file)
    lock_path.unlink(missing_ok=True)


def _identity(path: Path) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
