"""Encoded rows on disk: token ids in one flat file, read through a memory map, so that any number of rows fits.

A store is a folder: `tokens.bin` (int32, all segments one after another), `lengths.bin` (int32, [rows, segments]),
`rows.bin` (int64, each row's number in its file) and `store.json`. Segments are prompt, chosen, rejected for pairs and
prompt, response for samples. Numbers are little-endian.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, TypeVar, overload

import numpy as np
import numpy.typing as npt

from quickalign.core import atomic
from quickalign.core.errors import DataError
from quickalign.data.encode import EncodedPair, EncodedRow, IntArray
from quickalign.data.encode import EncodedSample as Sample
from quickalign.data.report import Kind

_TOKENS, _LENGTHS, _ROWS, _ABOUT = "tokens.bin", "lengths.bin", "rows.bin", "store.json"
_VERSION = 1
_SEGMENTS: dict[Kind, int] = {"preference": 3, "supervised": 2}
_Number = TypeVar("_Number", np.int32, np.int64)
_INT32, _INT64 = np.dtype("<i4"), np.dtype("<i8")


class TokenStore(Sequence[EncodedRow]):
    """A folder of encoded rows as a sequence; `store[i]` is an `EncodedPair` or `EncodedSample`.

    `lengths` is int32 of shape [rows, 3] (prompt, chosen, rejected) or [rows, 2] (prompt, response), in tokens.
    `fingerprint` is a SHA-256 over kind, lengths and tokens: equal content gives equal fingerprints, whatever the file
    and its format were.

    Raises:
        DataError: the folder holds no whole store.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            about = json.loads((folder / _ABOUT).read_text())
            self.kind: Kind = about["kind"]
            self.fingerprint: str = about["fingerprint"]
            version = about["version"]
            self.lengths: IntArray = _load(folder / _LENGTHS, _INT32).reshape(-1, _SEGMENTS[self.kind])
            self.rows: npt.NDArray[np.int64] = _load(folder / _ROWS, _INT64)
            self._tokens: IntArray = _load(folder / _TOKENS, _INT32)
        except (OSError, ValueError, KeyError) as error:
            raise _damaged(folder, str(error)) from None
        ends = np.cumsum(self.lengths, dtype=np.int64)
        self._starts: npt.NDArray[np.int64] = np.concatenate(([0], ends))
        if version != _VERSION or len(self.rows) != len(self) or len(self._tokens) != self._starts[-1]:
            raise _damaged(folder, "its files do not belong together")

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, index: int) -> EncodedRow: ...
    @overload
    def __getitem__(self, index: slice) -> list[EncodedRow]: ...
    def __getitem__(self, index: int | slice) -> EncodedRow | list[EncodedRow]:
        if isinstance(index, slice):
            return [self._row(i) for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of a store of {len(self)} rows")
        return self._row(index % len(self))

    def prompt(self, index: int) -> IntArray:
        """The prompt's token ids of row `index`, without reading its answers."""
        start = index * self.lengths.shape[1]
        return self._tokens[self._starts[start] : self._starts[start + 1]]

    def content(self, index: int) -> bytes:
        """What row `index` holds, as bytes: equal for equal rows, whatever store they are in."""
        width = self.lengths.shape[1]
        start, end = self._starts[index * width], self._starts[(index + 1) * width]
        content: bytes = self.lengths[index].tobytes() + self._tokens[start:end].tobytes()
        return content

    def _row(self, index: int) -> EncodedRow:
        width = self.lengths.shape[1]
        bounds = self._starts[index * width : index * width + width + 1]
        parts = [np.array(self._tokens[a:b]) for a, b in pairwise(bounds)]
        row = int(self.rows[index])
        return EncodedPair(row, *parts) if self.kind == "preference" else Sample(row, *parts)


class StoreWriter:
    """Appends encoded rows to a folder; made by `write_store`."""

    def __init__(self, kind: Kind, tokens: BinaryIO, lengths: BinaryIO, rows: BinaryIO) -> None:
        self.kind = kind
        self._tokens, self._lengths, self._rows = tokens, lengths, rows
        self._tokens_hash, self._lengths_hash = hashlib.sha256(), hashlib.sha256()

    def add(self, examples: Sequence[EncodedRow]) -> None:
        """Append `examples`, all of the writer's kind."""
        segments = [(example.prompt, *example.answers) for example in examples]
        if not segments:
            return
        tokens = np.concatenate([part for parts in segments for part in parts]).astype(_INT32, copy=False).tobytes()
        lengths = np.array([[len(part) for part in parts] for parts in segments], dtype=_INT32).tobytes()
        self._tokens.write(tokens)
        self._lengths.write(lengths)
        self._rows.write(np.array([example.row for example in examples], dtype=_INT64).tobytes())
        self._tokens_hash.update(tokens)
        self._lengths_hash.update(lengths)

    def about(self) -> dict[str, str | int]:
        """What `store.json` says."""
        whole = hashlib.sha256(self.kind.encode() + self._lengths_hash.digest() + self._tokens_hash.digest())
        return {"version": _VERSION, "kind": self.kind, "fingerprint": whole.hexdigest()}


@contextmanager
def write_store(folder: Path, kind: Kind) -> Iterator[StoreWriter]:
    """Yield a writer; `folder` appears, whole, only when the block ends without an error."""
    with atomic.folder(folder) as temporary:
        with ExitStack() as stack:
            tokens, lengths, rows = (
                stack.enter_context((temporary / name).open("wb")) for name in (_TOKENS, _LENGTHS, _ROWS)
            )
            writer = StoreWriter(kind, tokens, lengths, rows)
            yield writer
        (temporary / _ABOUT).write_text(json.dumps(writer.about()) + "\n")


def _load(path: Path, dtype: "np.dtype[_Number]") -> "npt.NDArray[_Number]":
    if path.stat().st_size == 0:
        return np.zeros(0, dtype=dtype)
    # A plain view of the map, of which a slice takes a seventh of the time.
    return np.asarray(np.memmap(path, dtype=dtype, mode="r"))


def _damaged(folder: Path, why: str) -> DataError:
    return DataError(f"The encoded data in {folder} cannot be read: {why}.", "Delete the folder; it is made again.")
