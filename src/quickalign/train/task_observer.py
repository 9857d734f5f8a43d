"""The observer of a program without steps: plain lines on standard output and, for a server, a journal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from quickalign.core.errors import QuickalignError
from quickalign.train.journal import TaskJournal
from quickalign.train.lines import Lines
from quickalign.train.observer import Observer, Observers

SaveResult = Callable[[dict[str, Any]], None]
"""Saves what was found: `adapter` and `adapter_sha256` of weights made, `results`, and `summary` in words."""


@contextmanager
def task_observer(folder: Path | None) -> Iterator[tuple[Observer, SaveResult]]:
    """An observer for the length of the block, and what saves the result; `folder` is where the journal goes.

    An error that ends the block is left in the journal, too.
    """
    lines = Lines(sys.stdout)
    if folder is None:
        yield lines, lambda values: None
        return
    journal = TaskJournal(folder)
    try:
        yield Observers(lines, journal), journal.result
    except QuickalignError as error:
        journal.failed(error)
        raise
