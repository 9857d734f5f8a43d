"""`python -m quickalign.evaluate SPEC.json [FOLDER]`: one evaluation as a plain program, with plain lines on standard
output. A server names the folder that it reads events and result from.
"""

from __future__ import annotations

import sys
from pathlib import Path

from quickalign.core import spec_file
from quickalign.core.program import run_program
from quickalign.core.startup import uncollected
from quickalign.evaluate.spec import EvaluationSpec


def _run(file: Path, journal: Path | None = None) -> None:
    spec = spec_file.load(EvaluationSpec, file)
    with uncollected():  # a wrong spec is told before torch is loaded
        from quickalign.evaluate.results import results_of  # noqa: PLC0415
        from quickalign.evaluate.run import demand_limits, evaluate  # noqa: PLC0415
        from quickalign.train.task_observer import task_observer  # noqa: PLC0415

    with task_observer(journal) as (observer, save_result):
        report = evaluate(spec, observer)
        for figure in report.figures:
            found = figure.model
            sys.stdout.write(f"{figure.name} {found.value:.6g} ({found.low:.6g} to {found.high:.6g})\n")
        for task in report.tasks:
            sys.stdout.write(f"{task.name} {task.value:.6g}\n")
        sys.stdout.write(f"{report.verdict.sentence}\n")
        summary = report.verdict.sentence.replace("\N{NO-BREAK SPACE}", " ")
        save_result({"summary": summary, "results": results_of(report)})
        demand_limits(report)


if __name__ == "__main__":
    sys.exit(run_program(_run, sys.argv[1:], most=2))
