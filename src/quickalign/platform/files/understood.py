"""Rows of a file as they are understood: pairs and samples as texts, and as the tokens that a model gets."""

import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from quickalign.core.errors import DataError
from quickalign.core.wire.files import RowTexts, RowTextsPage, RowTokensPage, Turn
from quickalign.data.feed import Feed
from quickalign.data.formats.base import Choices
from quickalign.data.read import open_rows
from quickalign.data.records import PreferenceRecord, Record
from quickalign.data.report import BadRow
from quickalign.platform.files.preview import named
from quickalign.platform.programs.run import run_program

MAX_ROWS = 100


def row_texts(blob: Path, filename: str, *, offset: int, limit: int) -> RowTextsPage:
    """Rows from number `offset` (from 0) on.

    Raises:
        DataError: the file cannot be read, or its format is not known.
    """
    offset, limit = max(0, offset), max(1, min(limit, MAX_ROWS))
    with tempfile.TemporaryDirectory(prefix="quickalign-rows-") as folder:
        file = named(blob, filename, Path(folder))
        try:
            with open_rows(str(file)) as source:
                feed = Feed(filename, source, "auto", None, Choices())
                rows = list(islice(feed, offset, offset + limit + 1))
                shown = tuple(_numbered(rows[:limit], offset))
                following = offset + limit if len(rows) > limit else None
                return RowTextsPage(
                    format=feed.recognised.format.name, items=shown, offset=offset, next_offset=following
                )
        except DataError as error:
            raise DataError(error.message.replace(str(file), filename), error.remedy) from None


def row_tokens(blob: Path, filename: str, request: dict[str, Any], seconds: float) -> RowTokensPage:
    """Rows as tokens, by a program of its own; `request` has model, seq_length, system_prompt, offset and limit.

    Raises:
        DataError, ModelError: the file or the tokenizer cannot be read. UnavailableError: it took too long.
    """
    with tempfile.TemporaryDirectory(prefix="quickalign-tokens-") as folder:
        file = named(blob, filename, Path(folder))
        found = run_program("quickalign.platform.programs.row_tokens", request | {"uri": str(file)}, seconds)
        return RowTokensPage.model_validate(found)


def _numbered(rows: Sequence[Sequence[Record] | BadRow], offset: int) -> Iterator[RowTexts]:
    for number, row in enumerate(rows, start=offset + 1):
        if isinstance(row, BadRow):
            yield RowTexts(row=number, problem=row.sentence())
            continue
        for record in row:
            yield _texts(record)


def _texts(record: Record) -> RowTexts:
    prompt = tuple(Turn(role=message.role, content=message.content) for message in record.prompt)
    known: dict[str, Any] = {"row": record.row, "prompt": prompt, "category": record.category}
    if isinstance(record, PreferenceRecord):
        return RowTexts(**known, chosen=record.chosen, rejected=record.rejected)
    return RowTexts(**known, chosen=record.response)
