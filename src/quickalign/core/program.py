"""How a plain program whose first argument is a specification's file begins and ends."""

import json
import logging
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from quickalign.core import atomic
from quickalign.core.errors import OptionError, QuickalignError, StorageError

LEASE_MARK = "QUICKALIGN_LEASE"
"""The variable by which everything that an attempt starts is known, wherever it goes."""
CRASHED = 70
"""The exit code for what no error of `core.errors` describes."""
AWAY = 75
"""The exit code that says: nothing is wrong with what was asked for, but the cluster that it needs is not there."""


def run_program(work: Callable[..., None], arguments: list[str], *, most: int = 1) -> int:
    """Do `work` with the paths that `arguments` name, `most` at most; returns the exit code of `core.errors`."""
    return exit_code(lambda: work(*paths(arguments, most=most)))


def paths(arguments: list[str], *, most: int = 1) -> list[Path]:
    """The paths that `arguments` name, one to `most`.

    Raises:
        OptionError: there are none, or more.
    """
    if not 1 <= len(arguments) <= most:
        raise OptionError("Exactly one argument is expected: the specification's JSON file.")
    return [Path(argument) for argument in arguments]


def exit_code(work: Callable[[], int | None], away: tuple[type[Exception], ...] = ()) -> int:
    """Do `work`, and say on standard error what went wrong.

    Returns:
        What `work` returns, 0 for nothing; an error's own code; `AWAY` for those of `away`; `CRASHED` for any other.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        return work() or 0
    except away as error:
        sys.stderr.write(f"error: {error}\n")
        return AWAY
    except QuickalignError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except Exception:
        traceback.print_exc()
        return CRASHED


def tell_ready(ready: dict[str, Any], file: Path | None) -> None:
    """Say that a server is ready: one line of JSON to standard output, and to `file` before, whole or not at all.

    Raises:
        StorageError: the file cannot be written.
    """
    line = json.dumps(ready, ensure_ascii=False) + "\n"
    if file is not None:
        try:
            atomic.write_text(file, line)
        except OSError as error:
            raise StorageError(f"{file} cannot be written: {error.strerror or error}.", "Make room.") from None
    sys.stdout.write(line)
    sys.stdout.flush()


def leave(code: int) -> NoReturn:
    """End this process at once, as one that has used Ray must: what Ray does at a process's end waits for a cluster
    that may be gone."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
