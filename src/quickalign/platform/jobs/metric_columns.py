"""The metrics of a long run as columns of numbers, read several times as fast as line by line.

Runs write the same names in the same order into every line, with numbers and nulls. With commas for colons and closing
braces such a file is a table, whose every other column holds a name; Arrow reads that faster than JSON. A file with
anything else in it is left to `reading`, which is slower and knows more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

from quickalign.platform.jobs.reading import STEPS_FILE, parsed

_LEAST_BYTES = 4 << 20
"""Shorter files are read line by line just as soon."""
_PIECE_BYTES = 4 << 20
"""How much of a file is in memory at a time, and prepared while no other thread can run."""
_BLOCK_BYTES = 1 << 20
_TO_TABLE = bytes.maketrans(b":}", b",,")
_NAME, _VALUE, _END = "name ", "value ", "end"

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MetricColumns:
    """The first lines of a run's metrics: a column of equal length for each name, NaN where a value is missing.

    `last` is the last of the lines, `complete` says that no other will follow.
    """

    values: dict[str, Numbers]
    last: dict[str, Any]
    complete: bool


def read_columns(output: Path, names: Sequence[str], *, over: bool) -> MetricColumns | None:
    """All complete lines of a long file; None where it is short, or holds what only `read_metrics` can read."""
    try:
        with (output / STEPS_FILE).open("rb") as stream:
            if stream.seek(0, 2) < _LEAST_BYTES:
                return None
            stream.seek(0)
            return _read(stream, names, over=over)
    except FileNotFoundError:
        return None


def _read(stream: BinaryIO, names: Sequence[str], *, over: bool) -> MetricColumns | None:
    found: dict[str, list[Numbers]] = {name: [] for name in names}
    last, written = b"", None
    for piece in _whole_lines(stream):
        written = written or _written(piece)
        columns = _columns(piece, written) if written else None
        if columns is None:
            return None
        for name, parts in found.items():
            parts.append(columns[name] if name in columns else np.full(len(columns[written[0]]), np.nan))
        last = piece[piece.rfind(b"\n", 0, -1) + 1 :]
    if not last:
        return None
    return MetricColumns({name: np.concatenate(parts) for name, parts in found.items()}, parsed(last), over)


def _written(piece: bytes) -> tuple[str, ...]:
    """The names that the first line gives values to; none where one of them could be taken for something else."""
    names = tuple(parsed(piece[: piece.find(b"\n")]))
    return names if all(name.isidentifier() and name.isascii() for name in names) else ()


def _whole_lines(stream: BinaryIO) -> Iterator[bytes]:
    """The file in pieces that end with a line's end; what follows the last one is not read."""
    rest = b""
    while block := stream.read(_PIECE_BYTES):
        content = rest + block if rest else block
        end = content.rfind(b"\n") + 1
        rest = content[end:]
        if end:
            yield content if end == len(content) else content[:end]


def _columns(piece: bytes, names: Sequence[str]) -> dict[str, Numbers] | None:
    text = pa.dictionary(pa.int32(), pa.binary())
    types = {kind + name: of for name in names for kind, of in ((_NAME, text), (_VALUE, pa.float64()))} | {_END: text}
    try:
        table = csv.read_csv(
            pa.BufferReader(piece.translate(_TO_TABLE, b" ")),
            csv.ReadOptions(column_names=list(types), block_size=_BLOCK_BYTES),
            csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
            csv.ConvertOptions(column_types=types, null_values=["null"], check_utf8=False),
        )
    except pa.ArrowException:  # such as a text where a number belongs, or a line with a name more
        return None
    expected = {_NAME + name: f'"{name}"' for name in names} | {_NAME + names[0]: f'{{"{names[0]}"', _END: ""}
    if not all(_is_always(table.column(name), text) for name, text in expected.items()):
        return None
    return {name: np.concatenate([_finite(chunk) for chunk in table.column(_VALUE + name).chunks]) for name in names}


def _is_always(column: pa.ChunkedArray, text: str) -> bool:
    return all(chunk.dictionary.to_pylist() == [text.encode()] for chunk in column.chunks)


def _finite(chunk: Any) -> Numbers:
    """The numbers of an array; Infinity counts as missing, as it does to those who read line by line.

    Arrow's own `to_numpy` would import pandas, which takes longer than a hundred thousand lines.
    """
    present, values = chunk.buffers()
    begin, end = chunk.offset, chunk.offset + len(chunk)
    found = np.frombuffer(values, np.float64, count=end)[begin:]
    known = np.isfinite(found)
    if present is not None:
        known &= np.unpackbits(np.frombuffer(present, np.uint8), count=end, bitorder="little")[begin:].astype(bool)
    return np.where(known, found, np.nan)
