"""The reference cache as a table."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from quickalign.cli.draw import parts
from quickalign.cli.words import count, size
from quickalign.train.scoring.cache import CacheEntry


def cache_view(folder: Path, entries: Sequence[CacheEntry]) -> RenderableType:
    """All files of the cache, the last used first."""
    if not entries:
        return parts.plain(f"The reference cache {folder} is empty.")
    table = parts.table("model", "precision", "base", "answers", "damaged", "size", "last used", right=range(3, 6))
    for entry in entries:
        about = entry.identity
        used = datetime.fromtimestamp(entry.last_used).astimezone()
        table.add_row(
            parts.plain(about.get("model", "?")[:12]),
            parts.plain(about.get("precision", "?")),
            parts.plain(about.get("quantization", "?")),
            f"{entry.records:,}",
            f"{entry.damaged:,}",
            size(entry.bytes),
            f"{used:%Y-%m-%d %H:%M}",
        )
    total = sum(entry.bytes for entry in entries)
    return Group(table, "", Text(f"{count(len(entries), 'file')}, {size(total)} in {folder}.", style="quiet"))
