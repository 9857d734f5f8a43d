"""`python -m quickalign.train SPEC.json`: a run as a plain program, with plain lines on standard output.

`python -m quickalign.train --plan SPEC.json [WORKERS [DEVICE]]` prints plan and data report as one JSON object and
trains nothing; WORKERS is how many processes the run is to have, DEVICE what each runs on (`device.named_device`).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from quickalign.core import spec as specs
from quickalign.core.errors import OptionError, QuickalignError
from quickalign.core.hyperparameters import Hyperparameters
from quickalign.core.program import exit_code, run_program
from quickalign.core.startup import leave_out, uncollected


def main(arguments: list[str]) -> int:
    """Run, or plan, the specification that is named; returns the exit code of `core.errors`."""
    if arguments[:1] == ["--plan"]:
        return exit_code(lambda: _answer(arguments[1:]))
    return run_program(_run, arguments)


def _run(file: Path) -> None:
    spec = specs.load(file)
    if not _uses_bitsandbytes(spec.hyperparameters):
        leave_out("bitsandbytes")
    with uncollected():  # a wrong spec is told before torch is loaded
        from quickalign.train.journal import Journal  # noqa: PLC0415
        from quickalign.train.lines import Lines  # noqa: PLC0415
        from quickalign.train.observer import Observers  # noqa: PLC0415
        from quickalign.train.run import run  # noqa: PLC0415

    lines = Lines(sys.stdout)
    if int(os.environ.get("RANK", "0")) > 0:  # of the processes of a run only the main one speaks and writes
        run(spec, lines)
        return
    journal = Journal(spec.output)
    try:
        run(spec, Observers(lines, journal))
    except QuickalignError as error:
        journal.failed(error)
        raise


def _uses_bitsandbytes(parameters: Hyperparameters) -> bool:
    return parameters.quantization != "none" or parameters.optimizer != "adamw"


def _answer(arguments: list[str]) -> None:
    """Print the plan as JSON, or what is wrong, which standard error gets too."""
    try:
        answer = _plan(*arguments)
    except QuickalignError as error:
        sys.stdout.write(json.dumps({"message": error.message, "remedy": error.remedy}) + "\n")
        raise
    sys.stdout.write(json.dumps(answer) + "\n")


def _plan(*arguments: str) -> dict[str, Any]:
    if not 1 <= len(arguments) <= 3:
        raise OptionError("A plan takes one to three arguments: the run specification's JSON file, WORKERS, DEVICE.")
    file, workers, device = (*arguments, "", "")[:3]
    spec = specs.load(Path(file))
    with uncollected():
        from quickalign.train.ahead import plan  # noqa: PLC0415
        from quickalign.train.device import named_device  # noqa: PLC0415

    leave_out("bitsandbytes")
    count = int(workers) if workers else None
    found, *reports = plan(spec, workers=count, device=named_device(device) if device else None)
    report, validation = (None if each is None else each.model_dump(mode="json") for each in reports)
    return {"plan": found.to_json(), "report": report, "validation_report": validation}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
