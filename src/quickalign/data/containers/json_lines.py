"""JSON lines: one object a line. Blank lines are skipped; a row's number is its line's."""

from collections.abc import Iterator
from typing import BinaryIO

from quickalign.core.errors import DataError
from quickalign.data.containers.encoding import UTF8_BOM
from quickalign.data.containers.json_row import Row, parse_row
from quickalign.data.containers.limits import LIMIT_WORDS, MAX_ROW_BYTES
from quickalign.data.problem import RowProblem


def bounded_lines(stream: BinaryIO) -> Iterator[tuple[int, int, bytes | None]]:
    """Line number, byte offset and bytes of every line; None instead of the bytes of a line over the limit."""
    number = offset = 0
    while line := stream.readline(MAX_ROW_BYTES + 1):
        number += 1
        start, offset = offset, offset + len(line)
        if len(line) <= MAX_ROW_BYTES or line.endswith(b"\n"):
            yield number, start, line.removeprefix(UTF8_BOM) if start == 0 else line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(1 << 20)
            offset += len(line)
        yield number, start, None


def read_json_lines(stream: BinaryIO, uri: str) -> Iterator[tuple[int, Row | RowProblem]]:
    """Row numbers with their rows.

    Raises:
        DataError: the file is one object spread over several lines.
    """
    for number, offset, line in bounded_lines(stream):
        if line is None:
            yield number, RowProblem("", "a line over the limit", LIMIT_WORDS)
        elif line.strip() == b"{":
            raise DataError(
                f"{uri} holds a JSON object that is spread over several lines (line {number} is only a brace).",
                "Write one object a line, or all objects as a JSON array: [ {...}, {...} ].",
            )
        elif line.strip():
            yield number, parse_row(line, offset)
