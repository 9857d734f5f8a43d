"""A program run in this process: drawn as it goes, or silent with its result as JSON."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import TypeVar

from rich.console import RenderableType

from quickalign.cli.terminal import screen, write_json
from quickalign.cli.watch.observer import ConsoleObserver
from quickalign.train.observer import Observer

Spec = TypeVar("Spec")
Found = TypeVar("Found")


def run_here(
    program: Callable[[Spec, Observer], Found], spec: Spec, view: Callable[[Found], RenderableType], *, as_json: bool
) -> Found:
    """Run `program` as `spec` says and show what it found, drawn by `view`; returns that.

    Raises:
        QuickalignError: what the program ends with.
    """
    if as_json:
        found = program(spec, Observer())
        write_json(found)
        return found
    console = screen()
    with closing(ConsoleObserver(console)) as observer:
        found = program(spec, observer)
    console.print(view(found))
    return found
