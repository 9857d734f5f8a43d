"""`python -m quickalign.evaluate.compare SPEC.json`: one comparison as a plain program."""

from __future__ import annotations

import sys
from pathlib import Path

from quickalign.core import spec_file
from quickalign.core.program import run_program
from quickalign.core.startup import uncollected
from quickalign.evaluate.compare.spec import ComparisonSpec


def _run(file: Path) -> None:
    spec = spec_file.load(ComparisonSpec, file)
    with uncollected():  # a wrong spec is told before torch is loaded
        from quickalign.evaluate.compare.run import compare  # noqa: PLC0415
        from quickalign.train.lines import Lines  # noqa: PLC0415

    for one in compare(spec, Lines(sys.stdout)).contests:
        rate = "no verdict" if one.win_rate is None else f"win rate {one.win_rate.value:.3f}"
        sys.stdout.write(f"{one.second} against {one.first} by {one.by}: {rate}\n")


if __name__ == "__main__":
    sys.exit(run_program(_run, sys.argv[1:]))
