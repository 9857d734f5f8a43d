"""`python -m quickalign.train SPEC.json`: a run as a plain program, with plain lines on standard output.

`python -m quickalign.train --plan SPEC.json [WORKERS [DEVICE]]` prints plan and data report as one JSON object and
trains nothing; WORKERS is how many processes the run is to have, DEVICE what each runs on (`device.named_device`).
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from pathlib import Path

from quickalign.core import spec as specs
from quickalign.core.errors import OptionError, QuickalignError
from quickalign.core.hyperparameters import Hyperparameters
from quickalign.core.spec import RunSpec
from quickalign.core.startup import leave_out, uncollected

CRASHED = 70
"""The exit code for what no error of `core.errors` describes: a run that may well go on from its last checkpoint."""


def main(arguments: list[str]) -> int:
    """Run, or plan, the specification that is named; returns the exit code of `core.errors`."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    planning = arguments[:1] == ["--plan"]
    try:
        rest = arguments[1:] if planning else arguments
        if not 1 <= len(rest) <= (3 if planning else 1):
            raise OptionError("Exactly one argument is expected: the run specification's JSON file.")
        spec = specs.load(Path(rest[0]))
        if planning or not _uses_bitsandbytes(spec.hyperparameters):
            leave_out("bitsandbytes")
        return _plan(spec, *rest[1:]) if planning else _run(spec)
    except QuickalignError as error:
        sys.stderr.write(f"error: {error}\n")
        if planning:
            sys.stdout.write(json.dumps({"message": error.message, "remedy": error.remedy}) + "\n")
        return error.exit_code
    except Exception:
        traceback.print_exc()
        return CRASHED


def _uses_bitsandbytes(parameters: Hyperparameters) -> bool:
    return parameters.quantization != "none" or parameters.optimizer != "adamw"


def _run(spec: RunSpec) -> int:
    with uncollected():  # a wrong spec is told before torch is loaded
        from quickalign.train.journal import Journal  # noqa: PLC0415
        from quickalign.train.lines import Lines  # noqa: PLC0415
        from quickalign.train.observer import Observers  # noqa: PLC0415
        from quickalign.train.run import run  # noqa: PLC0415

    lines = Lines(sys.stdout)
    if int(os.environ.get("RANK", "0")) > 0:  # of the processes of a run only the main one speaks and writes
        run(spec, lines)
        return 0
    journal = Journal(spec.output)
    try:
        run(spec, Observers(lines, journal))
    except QuickalignError as error:
        journal.failed(error)
        raise
    return 0


def _plan(spec: RunSpec, workers: str | None = None, device: str | None = None) -> int:
    with uncollected():
        from quickalign.train.ahead import plan  # noqa: PLC0415
        from quickalign.train.device import named_device  # noqa: PLC0415

    count = int(workers) if workers else None
    found, *reports = plan(spec, workers=count, device=named_device(device) if device else None)
    report, validation = (None if each is None else each.model_dump(mode="json") for each in reports)
    answer = {"plan": found.to_json(), "report": report, "validation_report": validation}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
