"""The first rows of a file as they are stored."""

import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

from quickalign.core.errors import DataError
from quickalign.core.wire.files import RowPreview
from quickalign.data.containers.json_row import Row
from quickalign.data.formats.registry import FIRST_ROWS, recognise
from quickalign.data.problem import RowProblem
from quickalign.data.read import open_rows

_MAX_ROWS = 1000


def preview(blob: Path, filename: str, *, offset: int, limit: int) -> RowPreview:
    """Rows from number `offset` (from 0) on; a row that cannot be read says so in place of its fields.

    Raises:
        DataError: the file holds no rows that can be read.
    """
    offset, limit = max(0, offset), max(1, min(limit, _MAX_ROWS))
    with tempfile.TemporaryDirectory(prefix="quickalign-rows-") as folder:
        file = named(blob, filename, Path(folder))
        try:
            with open_rows(str(file)) as source:
                head, wanted, more = _read(iter(source), offset, limit)
        except DataError as error:
            raise DataError(error.message.replace(str(file), filename), error.remedy) from None
        following = offset + limit if more else None
        return RowPreview(format=_format(filename, head), rows=tuple(wanted), offset=offset, next_offset=following)


def named(blob: Path, filename: str, folder: Path) -> Path:
    """The content under its own name, from which its kind can be told."""
    file = folder / filename
    file.symlink_to(blob.resolve())
    return file


def _read(rows: Any, offset: int, limit: int) -> tuple[list[Row], list[dict[str, Any]], bool]:
    head: list[Row] = []
    wanted: list[dict[str, Any]] = []
    last = offset + limit
    for index, (_, row) in enumerate(islice(rows, max(last + 1, FIRST_ROWS))):
        if not isinstance(row, RowProblem) and len(head) < FIRST_ROWS:
            head.append(row)
        if offset <= index < last:
            wanted.append(_shown(row))
        elif index >= last:
            return head, wanted, True
    return head, wanted, False


def _shown(row: Row | RowProblem) -> dict[str, Any]:
    if isinstance(row, RowProblem):
        return {"_problem": f"found {row.found}, expected {row.expected}", "_field": row.field}
    return dict(row)


def _format(filename: str, head: list[Row]) -> str:
    try:
        return recognise(filename, head, "auto", None).format.name if head else "unknown"
    except DataError:
        return "unknown"
