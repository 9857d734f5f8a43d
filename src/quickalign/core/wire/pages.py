"""Lists, events and logs that come in pieces, read piece by piece to where they end now."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from quickalign.core.wire.base import Page
from quickalign.core.wire.jobs import Event, LogChunk

T = TypeVar("T")


def all_items(read: Callable[[str | None], Page[T]]) -> Iterator[T]:
    """All items of a list; `read` gives the page after an item's id, the first page for None."""
    after: str | None = None
    while True:
        page = read(after)
        yield from page.items
        after = page.next
        if after is None:
            return


def all_events(read: Callable[[int], Page[Event]], after: int = 0) -> Iterator[Event]:
    """Events up to now, oldest first; `read` gives some of those whose number is above one."""
    while events := read(after).items:
        yield from events
        after = events[-1].sequence


def log_chunks(read: Callable[[int], LogChunk], offset: int = 0) -> Iterator[LogChunk]:
    """A log up to now, in pieces; `read` gives the one that begins at a byte. The last is empty, and says so."""
    while True:
        chunk = read(offset)
        yield chunk
        if chunk.next_offset <= offset:
            return
        offset = chunk.next_offset
