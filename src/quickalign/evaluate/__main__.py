"""`python -m quickalign.evaluate SPEC.json`: one evaluation as a plain program, with plain lines on standard output."""

from __future__ import annotations

import logging
import sys
import traceback
from pathlib import Path

from quickalign.core import loose
from quickalign.core.errors import OptionError, QuickalignError
from quickalign.evaluate.spec import EvaluationSpec

CRASHED = 70
"""The exit code for what no error of `core.errors` describes."""


def main(arguments: list[str]) -> int:
    """Run the specification that is named; returns the exit code of `core.errors`."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        if len(arguments) != 1:
            raise OptionError("Exactly one argument is expected: the evaluation specification's JSON file.")
        _run(loose.load(EvaluationSpec, Path(arguments[0])))
    except QuickalignError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except Exception:
        traceback.print_exc()
        return CRASHED
    return 0


def _run(spec: EvaluationSpec) -> None:
    from quickalign.evaluate.run import demand_limits, evaluate  # noqa: PLC0415 - a wrong spec is told before torch loads
    from quickalign.train.lines import Lines  # noqa: PLC0415

    report = evaluate(spec, Lines(sys.stdout))
    for figure in report.figures:
        sys.stdout.write(
            f"{figure.name} {figure.model.value:.6g} ({figure.model.low:.6g} to {figure.model.high:.6g})\n"
        )
    sys.stdout.write(f"{report.verdict.sentence}\n")
    demand_limits(report)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
