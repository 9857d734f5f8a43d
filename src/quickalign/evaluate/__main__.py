"""`python -m quickalign.evaluate SPEC.json`: one evaluation as a plain program, with plain lines on standard output."""

from __future__ import annotations

import sys
from pathlib import Path

from quickalign.core import spec_file
from quickalign.core.program import run_program
from quickalign.evaluate.spec import EvaluationSpec


def _run(file: Path) -> None:
    spec = spec_file.load(EvaluationSpec, file)
    from quickalign.evaluate.run import demand_limits, evaluate  # noqa: PLC0415 - a wrong spec is told before torch loads
    from quickalign.train.lines import Lines  # noqa: PLC0415

    report = evaluate(spec, Lines(sys.stdout))
    for figure in report.figures:
        found = figure.model
        sys.stdout.write(f"{figure.name} {found.value:.6g} ({found.low:.6g} to {found.high:.6g})\n")
    sys.stdout.write(f"{report.verdict.sentence}\n")
    demand_limits(report)


if __name__ == "__main__":
    sys.exit(run_program(_run, sys.argv[1:]))
