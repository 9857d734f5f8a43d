"""JSON arrays: one list of objects, read element by element, never held whole.

The scanner finds where elements begin and end by their brackets and strings; each element is then parsed by itself, so
that a damaged one is a bad row and the next is read all the same. What breaks the array itself (a missing comma or
bracket, an element over the limit) ends the reading with a sentence.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO

import orjson

from quickalign.core.errors import DataError
from quickalign.data.containers.encoding import UTF8_BOM, not_utf8
from quickalign.data.containers.json_row import Row, parse_row
from quickalign.data.containers.limits import LIMIT_WORDS, MAX_DEPTH, MAX_ROW_BYTES
from quickalign.data.problem import RowProblem, describe, quote

_CHUNK = 1 << 20
# A whole string, or one that the buffer cuts off (group 1 is then empty), or a bracket.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+("?)|[\[\]{}]', re.DOTALL)
_BLANK = b" \t\r\n"

Numbered = tuple[int, Row | RowProblem]


def read_json_array(stream: BinaryIO, uri: str) -> Iterator[Numbered]:
    """Row numbers, from 1, with the elements of the array.

    Raises:
        DataError: the array is broken, cut off, or followed by something else.
    """
    return _Scanner(stream, uri).rows()


class _Scanner:
    def __init__(self, stream: BinaryIO, uri: str) -> None:
        self._stream, self._uri = stream, uri
        self._buffer = b""
        self._base = 0  # offset in the file of the buffer's first byte
        self._at = 0  # where the search for the next token goes on
        self._gap = 0  # end of the last element
        self._start = 0  # begin of the current element
        self._depth = 0  # 1 inside the array, more inside an element
        self._row = 0

    def rows(self) -> Iterator[Numbered]:
        self._more()
        while self._buffer[self._at : self._at + 1] != b"[":
            self._at += len(UTF8_BOM) if self._buffer.startswith(UTF8_BOM, self._at) else 1
        self._at += 1
        self._gap, self._depth = self._at, 1
        while self._depth:
            yield from self._scan()
            if self._depth:
                self._more()
        self._check_nothing_follows()

    def _scan(self) -> Iterator[Numbered]:
        """The elements that end inside the buffer."""
        for token in _TOKEN.finditer(self._buffer, self._at):
            self._at = token.start()
            kind = self._buffer[self._at : self._at + 1]
            if kind == b'"' and not token[1]:
                return
            self._at = token.end()
            if kind in b"[{":
                yield from self._open(token.start())
            elif kind != b'"':
                yield from self._close(token.end())
                if not self._depth:
                    return
        if self._depth > 1 or b'"' not in self._buffer[self._at :]:
            self._at = len(self._buffer)

    def _open(self, start: int) -> Iterator[Numbered]:
        if self._depth == 1:
            yield from self._between(self._buffer[self._gap : start], last=False)
            self._start = start
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._broken(f"is nested deeper than {MAX_DEPTH} levels")

    def _close(self, end: int) -> Iterator[Numbered]:
        self._depth -= 1
        if self._depth == 1:
            self._row += 1
            yield self._row, parse_row(self._buffer[self._start : end], self._base + self._start)
            self._gap = end
        elif not self._depth:
            yield from self._between(self._buffer[self._gap : end - 1], last=True)

    def _between(self, gap: bytes, last: bool) -> Iterator[Numbered]:
        """Check the text between two elements; numbers, texts and nulls that stand there are bad rows."""
        core = gap.strip(_BLANK)
        if core == (b"" if last or not self._row else b","):
            return
        begins, ends = not self._row or core.startswith(b","), last or core.endswith(b",")
        inner = core[1 if self._row and begins else 0 : len(core) if last or not ends else -1]
        try:
            scalars = orjson.loads(b"[" + inner + b"]") if begins and ends else []
        except orjson.JSONDecodeError:
            scalars = []
        if not scalars:
            shown = quote(core.decode("utf-8", "replace")) if core else "nothing"
            wanted = "']'" if last else "a comma"
            raise self._broken(f"is followed by {shown} instead of {wanted}")
        for scalar in scalars:
            self._row += 1
            yield self._row, RowProblem("", describe(scalar), "an object with named fields")

    def _more(self) -> None:
        """Read on, keeping only what is not finished yet; twice as much each time an element needs more."""
        keep = self._start if self._depth > 1 else self._gap
        self._buffer, self._base = self._buffer[keep:], self._base + keep
        self._at, self._start, self._gap = self._at - keep, self._start - keep, self._gap - keep
        if len(self._buffer) > MAX_ROW_BYTES:
            raise self._broken(f"is over the limit of {LIMIT_WORDS.removeprefix('at most ')}", ahead=1)
        content = self._stream.read(max(_CHUNK, len(self._buffer)))
        if not content:
            raise self._broken("is not finished: the file ends before the array does", ahead=1)
        self._buffer += content

    def _check_nothing_follows(self) -> None:
        rest = self._buffer[self._at :]
        while not rest.strip(_BLANK):
            rest = self._stream.read(_CHUNK)
            if not rest:
                return
        found = quote(rest.strip(_BLANK)[:40].decode("utf-8", "replace"))
        raise DataError(
            f"{self._uri} goes on with {found} after the end of its JSON array.",
            "Give one array, or one object a line without brackets around them.",
        )

    def _broken(self, what: str, ahead: int = 0) -> DataError:
        foreign = not_utf8(self._buffer[: 8 * _CHUNK], self._base)
        if foreign and "byte offset" in foreign and not self._cut_character(foreign):
            return DataError(f"{self._uri} has {foreign}.", "Save it as UTF-8.")
        row = self._row + ahead
        place = f"row {row} of its array" if row else "the text before row 1"
        offset = self._base + self._start
        return DataError(
            f"{self._uri} is malformed JSON: {place}, near byte offset {offset}, {what}.",
            "Correct the file, or write one object a line (JSON lines), where a damaged line costs only itself.",
        )

    def _cut_character(self, foreign: str) -> bool:
        """Whether the only trouble is that the buffer's end cuts a character in two."""
        end = self._base + min(len(self._buffer), 8 * _CHUNK)
        return any(f"byte offset {end - back}," in foreign for back in (1, 2, 3))
