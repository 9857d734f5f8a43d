"""One file of the reference cache: fixed-size, checksummed records of a sequence's digest and its log-prob.

A file may be appended to by several runs at once, cut off by a crash, or damaged: every record is checked by itself,
and what does not check is counted and ignored.
"""

import hashlib
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from quickalign.core import paths
from quickalign.data.encode import IntArray

Digest = tuple[int, int]

RECORD = np.dtype([("high", "<u8"), ("low", "<u8"), ("value", "<f8"), ("check", "<u8")])
Records = npt.NDArray[np.void]

# How many new records are kept in a dictionary before they are merged into the sorted array.
_MERGE_AT = 100_000


def digest_of(prompt: IntArray, answer: IntArray) -> Digest:
    """128 bits that stand for a prompt and its answer."""
    content = hashlib.blake2b(struct.pack("<q", len(prompt)), digest_size=16)
    content.update(np.ascontiguousarray(prompt, dtype="<i4").tobytes())
    content.update(np.ascontiguousarray(answer, dtype="<i4").tobytes())
    high, low = struct.unpack("<QQ", content.digest())
    return high, low


class RecordFile:
    """The records in the file `path`, in memory, and those that this process adds.

    Attributes:
        path: the file; it need not exist.
        damaged: records that did not check when the file was read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sorted, self.damaged = read_records(path)
        self._new: dict[Digest, float] = {}

    def __len__(self) -> int:
        return len(self._sorted) + len(self._new)

    def find(self, digest: Digest) -> float | None:
        """The value stored under `digest`, or None."""
        if digest in self._new:
            return self._new[digest]
        high, low = np.uint64(digest[0]), np.uint64(digest[1])
        at = int(np.searchsorted(self._sorted["high"], high))
        while at < len(self._sorted) and self._sorted["high"][at] == high:
            if self._sorted["low"][at] == low:
                return float(self._sorted["value"][at])
            at += 1
        return None

    def add(self, values: Mapping[Digest, float], *, write: bool = True) -> None:
        """Keep `values`, except what is known already or not finite. With `write`, append them to the file."""
        fresh = {key: value for key, value in values.items() if np.isfinite(value) and self.find(key) is None}
        if not fresh:
            return
        records = _records(fresh)
        if write:
            _append(self.path, records)
        self._new |= fresh
        if len(self._new) >= _MERGE_AT:
            self._sorted = np.sort(np.concatenate([self._sorted, _records(self._new)]), order="high", kind="stable")
            self._new = {}


def read_records(path: Path) -> tuple[Records, int]:
    """The records of a file that check, sorted, and how many do not; a missing file has none."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        content = b""
    whole = len(content) // RECORD.itemsize
    records = np.frombuffer(content, dtype=RECORD, count=whole)
    good = (records["check"] == _checks(records)) & np.isfinite(records["value"])
    damaged = int(whole - good.sum()) + (len(content) % RECORD.itemsize > 0)
    return np.sort(records[good], order="high", kind="stable"), damaged


def lock_of(path: Path) -> FileLock:
    """The lock that guards appending to, and deleting, a record file."""
    return FileLock(path.with_suffix(".lock"))


def _append(path: Path, records: Records) -> None:
    """Append whole records; a part that a crash left at the end is filled up first, so that what follows is aligned."""
    paths.make_folder(path.parent)
    with lock_of(path), path.open("ab") as stream:
        missing = -stream.tell() % RECORD.itemsize
        stream.write(bytes(missing) + records.tobytes())


def _records(values: Mapping[Digest, float]) -> Records:
    records = np.zeros(len(values), dtype=RECORD)
    keys: Sequence[Digest] = list(values)
    records["high"] = np.array([key[0] for key in keys], dtype=np.uint64)
    records["low"] = np.array([key[1] for key in keys], dtype=np.uint64)
    records["value"] = list(values.values())
    records["check"] = _checks(records)
    return records


def _checks(records: Records) -> npt.NDArray[np.uint64]:
    """A 64-bit checksum of each record: its words mixed by the finaliser of SplitMix64 (Steele et al. 2014)."""
    mixed = np.full(len(records), 0x9E3779B97F4A7C15, dtype=np.uint64)
    for word in (records["high"], records["low"], records["value"].view("<u8")):
        mixed = mixed ^ word
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed = mixed ^ (mixed >> np.uint64(31))
    return mixed
