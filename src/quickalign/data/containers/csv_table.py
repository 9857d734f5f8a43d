"""CSV with a header line; the separator is the comma, semicolon or tab that the header uses."""

import csv
from collections.abc import Iterator
from typing import BinaryIO

from quickalign.core.errors import DataError
from quickalign.data.containers.encoding import not_utf8
from quickalign.data.containers.json_lines import bounded_lines
from quickalign.data.containers.json_row import Row
from quickalign.data.containers.limits import LIMIT_WORDS, MAX_ROW_BYTES
from quickalign.data.problem import RowProblem

_SEPARATORS = ",;\t"


def header_cells(line: str) -> tuple[list[str], str]:
    """The names in a header line, and its separator: the one that gives most names."""
    separator = max(_SEPARATORS, key=line.count)
    return next(csv.reader([line], delimiter=separator), []), separator


def read_csv(stream: BinaryIO, uri: str) -> Iterator[tuple[int, Row | RowProblem]]:
    """Row numbers, from 1 below the header, with rows of texts.

    Raises:
        DataError: a line is over the limit, is no UTF-8 or ends with a carriage return alone, a quote is never closed,
            or a column has no or a doubled name.
    """
    # The csv module has one limit for all its readers; ours is the one the lines below hold to anyway.
    csv.field_size_limit(MAX_ROW_BYTES)
    lines = _Lines(stream, uri)
    header = next(lines, "")
    if "\r" in header.rstrip("\r\n"):
        raise DataError(
            f"{uri} has lines that end with a carriage return alone.", "Save it with line feeds (LF or CRLF)."
        )
    names, separator = header_cells(header)
    if len(set(names)) != len(names) or not all(name.strip() for name in names):
        raise DataError(
            f"{uri} has a CSV header with doubled or empty names: {', '.join(names)}.",
            "Correct it; pandas writes its index as a column without a name unless index=False is given.",
        )
    reader = csv.reader(lines, delimiter=separator, strict=True)
    number = 0
    try:
        for cells in reader:
            lines.row_bytes = 0
            if cells:
                number += 1
                yield number, _row(names, cells)
    except csv.Error as error:
        raise DataError(
            f"{uri} is malformed CSV in row {number + 1}: {error}.", "Double the quotes inside quoted texts."
        ) from None


def _row(names: list[str], cells: list[str]) -> Row | RowProblem:
    if len(cells) != len(names):
        return RowProblem("", f"{len(cells)} cells", f"{len(names)}, as the header has")
    return dict(zip(names, cells, strict=True))


class _Lines(Iterator[str]):
    """Decoded lines; counts the bytes of the row that is being read, so that an open quote cannot swallow a file."""

    def __init__(self, stream: BinaryIO, uri: str) -> None:
        self._lines, self._uri = bounded_lines(stream), uri
        self.row_bytes = 0

    def __next__(self) -> str:
        number, offset, line = next(self._lines)
        self.row_bytes += len(line or b"")
        if line is None or self.row_bytes > MAX_ROW_BYTES:
            raise DataError(
                f"{self._uri} has a row over the limit at line {number}; a row has {LIMIT_WORDS}.",
                "Look for a quote that is never closed.",
            )
        if foreign := not_utf8(line, offset):
            raise DataError(f"{self._uri} has {foreign}.", "Save it as UTF-8.")
        if b"\0" in line:
            raise DataError(f"{self._uri} has a NUL byte at byte offset {offset + line.index(0)}.", "Remove it.")
        return line.decode("utf-8")
