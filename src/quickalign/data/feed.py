"""Rows of a file as records, in its recognised format."""

from collections.abc import Iterator, Sequence
from itertools import chain

from quickalign.core.errors import DataError
from quickalign.core.hyperparameters import Strategy
from quickalign.core.spec import DataFormat
from quickalign.data.containers.json_row import Row
from quickalign.data.formats.base import Choices
from quickalign.data.formats.registry import FIRST_ROWS, Recognised, recognise
from quickalign.data.problem import RowProblem
from quickalign.data.read import RowSource
from quickalign.data.records import Record
from quickalign.data.report import BadRow, Kind

_FIRST_CHARACTERS = 16 << 20
"""Looking at the first rows ends here, so that a few huge ones cannot fill the memory."""


class Feed:
    """Iterating gives, for each row, its records (at least one) or the bad row that it is.

    `unused_fields` collects the names of fields that the format does not use.

    Raises:
        DataError: none of the first rows can be read, no format fits them, or several do.
    """

    def __init__(
        self, uri: str, source: RowSource, data_format: DataFormat, strategy: Strategy | None, choices: Choices
    ) -> None:
        self.uri, self.source = uri, source
        self.unused_fields: set[str] = set()
        self._choices = choices
        self._rows = iter(source)
        self._first = list(_first_rows(self._rows))
        readable = [row for _, row in self._first if not isinstance(row, RowProblem)]
        if not readable:
            raise _unreadable(uri, self._first)
        self.recognised: Recognised = recognise(uri, readable, data_format, strategy)

    @property
    def kind(self) -> Kind:
        """Pairs or single answers."""
        return self.recognised.format.kind

    def __iter__(self) -> Iterator[Sequence[Record] | BadRow]:
        first, self._first = self._first, []
        for number, row in chain(first, self._rows):
            yield self._convert(number, row)

    def _convert(self, number: int, row: Row | RowProblem) -> Sequence[Record] | BadRow:
        if isinstance(row, RowProblem):
            return row.at(number)
        taken = self.recognised.format
        self.unused_fields |= taken.unused(row)
        try:
            return taken.convert(number, row, self._choices)
        except RowProblem as problem:
            return problem.at(number)


def _unreadable(uri: str, first: Sequence[tuple[int, Row | RowProblem]]) -> DataError:
    for number, problem in first:
        if isinstance(problem, RowProblem):
            return DataError(
                f"{uri} has no readable row among its first {len(first)}; {problem.at(number).sentence()}",
                "Correct the file.",
            )
    return DataError(f"{uri} is empty: it holds no rows.", "Give a file with at least one row.")


def _first_rows(rows: Iterator[tuple[int, Row | RowProblem]]) -> Iterator[tuple[int, Row | RowProblem]]:
    characters = 0
    for _ in range(FIRST_ROWS):
        item = next(rows, None)
        if item is None:
            return
        yield item
        if not isinstance(item[1], RowProblem):
            characters += sum(len(value) for value in item[1].values() if isinstance(value, str | list))
        if characters > _FIRST_CHARACTERS:
            return
