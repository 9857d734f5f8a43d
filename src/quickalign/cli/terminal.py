"""Where the command line writes: people's text with Rich, scripts' JSON as it is."""

import os
import sys
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel
from rich.console import Console
from rich.theme import Theme

THEME = Theme(
    {
        "heading": "bold cyan",
        "label": "dim",
        "value": "bold",
        "good": "green",
        "bad": "bold red",
        "caution": "yellow",
        "command": "bold magenta",
        "path": "cyan",
        "quiet": "dim",
    }
)
"""What the styles that are named in the views look like."""

_PIPE_WIDTH = 100
"""Columns of what goes to a file or a pipe, where nothing says how wide it will be shown."""


def open_closed_streams() -> None:
    """Let standard streams that the caller has closed read and write nothing.

    Python has none then, and a file that is opened later would get its number, and what libraries print with it.
    """
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if getattr(sys, name) is not None:
            continue
        null = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 - it is the process's own from now on
        if null.fileno() != number and not _is_open(number):
            os.dup2(null.fileno(), number)
        setattr(sys, name, null)


def screen() -> Console:
    """Standard output for people: colours where the terminal has them and NO_COLOR is unset."""
    return _console(stderr=False)


def messages() -> Console:
    """Standard error for people."""
    return _console(stderr=True)


def write_json(value: Any, *, line: bool = False) -> None:
    """Write one JSON value to standard output: indented, or on one `line` where it is one of a stream."""
    option = 0 if line else orjson.OPT_INDENT_2
    sys.stdout.write(orjson.dumps(value, default=_plain, option=option).decode() + "\n")
    sys.stdout.flush()


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else _PIPE_WIDTH
    return Console(stderr=stderr, theme=THEME, highlight=False, emoji=False, width=width)


def _plain(value: Any) -> Any:
    """Values that orjson does not know."""
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)
