"""`python -m quickalign.export SPEC.json`: one export as a plain program, with plain lines on standard output."""

from __future__ import annotations

import sys
from pathlib import Path

from quickalign.core import spec_file
from quickalign.core.program import run_program
from quickalign.export.spec import ExportSpec


def _run(file: Path) -> None:
    spec = spec_file.load(ExportSpec, file)
    from quickalign.export.run import export  # noqa: PLC0415 - a wrong spec is told before torch is loaded
    from quickalign.train.lines import Lines  # noqa: PLC0415

    found = export(spec, Lines(sys.stdout))
    sys.stdout.write(f"exported: {found.folder} sha256 {found.weights_sha256}\n")


if __name__ == "__main__":
    sys.exit(run_program(_run, sys.argv[1:]))
