"""`python -m quickalign.export SPEC.json`: one export as a plain program, with plain lines on standard output."""

from __future__ import annotations

import logging
import sys
import traceback
from pathlib import Path

from quickalign.core import loose
from quickalign.core.errors import OptionError, QuickalignError
from quickalign.export.spec import ExportSpec

CRASHED = 70
"""The exit code for what no error of `core.errors` describes."""


def main(arguments: list[str]) -> int:
    """Run the specification that is named; returns the exit code of `core.errors`."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        if len(arguments) != 1:
            raise OptionError("Exactly one argument is expected: the export specification's JSON file.")
        _run(loose.load(ExportSpec, Path(arguments[0])))
    except QuickalignError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except Exception:
        traceback.print_exc()
        return CRASHED
    return 0


def _run(spec: ExportSpec) -> None:
    from quickalign.export.run import export  # noqa: PLC0415 - a wrong spec is told before torch is loaded
    from quickalign.train.lines import Lines  # noqa: PLC0415

    found = export(spec, Lines(sys.stdout))
    sys.stdout.write(f"exported: {found.folder} sha256 {found.weights_sha256}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
