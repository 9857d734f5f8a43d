"""A log, or events, of a job or a service on standard output: as text for people, as JSON Lines for scripts."""

import sys
from collections.abc import Iterable

from quickalign.cli.draw.jobs import event_line
from quickalign.cli.terminal import screen, write_json
from quickalign.core.wire.jobs import Event, LogChunk
from quickalign.sdk.follow import Item


def show_log(items: Iterable[Item | None], *, as_json: bool) -> None:
    """Write the pieces of a log as they come."""
    for item in items:
        if not isinstance(item, LogChunk):
            continue
        if as_json:
            write_json(item, line=True)
        else:
            sys.stdout.write(item.text)
            sys.stdout.flush()


def show_events(items: Iterable[Item | None], *, as_json: bool) -> None:
    """Write a line for each event, as it comes."""
    console = screen()
    for item in items:
        if not isinstance(item, Event):
            continue
        if as_json:
            write_json(item, line=True)
        else:
            console.print(event_line(item), soft_wrap=True)
