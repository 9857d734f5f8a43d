"""Files of a server: the list, one record, and rows of one."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import orjson
from rich.console import Group, RenderableType
from rich.text import Text

from quickalign.cli.draw import parts
from quickalign.cli.words import count, printable, size
from quickalign.core.wire.files import RowPreview, StoredFile


def files_view(files: Sequence[StoredFile], *, more: bool) -> RenderableType:
    """Files, a line each."""
    if not files:
        return Text("There are no files; `quickalign files upload PATH` brings one.")
    table = parts.table("file", "name", "size", "made", "used by", right=[2, 4])
    table.padding = (0, 1, 0, 0)
    for index in (0, 2, 3):
        table.columns[index].no_wrap = True
    for file in files:
        used = count(file.used_by, "job") if file.used_by else ""
        table.add_row(file.id, parts.plain(file.filename), size(file.bytes), _when(file.created_at), used)
    return Group(table, "", Text(count(len(files), "file") + ("; --limit shows more." if more else "."), style="quiet"))


def file_view(file: StoredFile) -> Group:
    """One file's record."""
    return Group(parts.heading(file.filename, file.id), parts.facts(_facts(file)))


def rows_view(preview: RowPreview) -> Group:
    """Some rows, each field on its own line."""
    blocks: list[RenderableType] = []
    for number, row in enumerate(preview.rows, preview.offset + 1):
        pairs = [(printable(name), parts.plain(_shown(value))) for name, value in row.items()]
        blocks += [parts.heading(f"Row {number:,}"), parts.facts(pairs), ""]
    tail = (
        f"--offset {preview.next_offset} shows what follows." if preview.next_offset is not None else "No row follows."
    )
    return Group(*blocks, Text(f"Format {preview.format}. {tail}", style="quiet"))


def _facts(file: StoredFile) -> Iterator[tuple[str, RenderableType]]:
    yield "size", f"{size(file.bytes)}, {file.bytes:,} bytes"
    yield "sha256", file.sha256
    yield "purpose", file.purpose
    yield "made", _when(file.created_at)
    yield "read by", count(file.used_by, "job") if file.used_by else "no job now"


def _when(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M}"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
