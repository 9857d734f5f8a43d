"""How a plain program whose first argument is a specification's file begins and ends."""

import logging
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from quickalign.core.errors import OptionError, QuickalignError

LEASE_MARK = "QUICKALIGN_LEASE"
"""The variable by which everything that an attempt starts is known, wherever it goes."""
CRASHED = 70
"""The exit code for what no error of `core.errors` describes."""
AWAY = 75
"""The exit code that says: nothing is wrong with what was asked for, but the cluster that it needs is not there."""


def run_program(work: Callable[..., None], arguments: list[str], *, most: int = 1) -> int:
    """Do `work` with the paths that `arguments` name, `most` at most; returns the exit code of `core.errors`."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        if not 1 <= len(arguments) <= most:
            raise OptionError("Exactly one argument is expected: the specification's JSON file.")
        work(*map(Path, arguments))
    except QuickalignError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except Exception:
        traceback.print_exc()
        return CRASHED
    return 0
