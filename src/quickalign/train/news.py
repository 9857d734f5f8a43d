"""What a program without steps tells: plain lines on standard output and, where a server reads along, its journal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from quickalign.core.errors import QuickalignError
from quickalign.train.journal import TaskJournal
from quickalign.train.lines import Lines
from quickalign.train.observer import Observer
from quickalign.train.several import Several

Leave = Callable[[dict[str, Any]], None]
"""Leaves what was found: `adapter` and `adapter_sha256` of weights made, `results`, and `summary` in words."""


@contextmanager
def telling(folder: Path | None) -> Iterator[tuple[Observer, Leave]]:
    """An observer for the length of the block, and how its result is left; `folder` is where the journal goes.

    An error that ends the block is left in the journal, too.
    """
    lines = Lines(sys.stdout)
    if folder is None:
        yield lines, lambda values: None
        return
    journal = TaskJournal(folder)
    try:
        yield Several(lines, journal), journal.result
    except QuickalignError as error:
        journal.failed(error)
        raise
