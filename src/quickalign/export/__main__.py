"""`python -m quickalign.export SPEC.json [FOLDER]`: one export as a plain program, with plain lines on standard output.
A server names the folder that it reads events and result from.
"""

from __future__ import annotations

import sys
from pathlib import Path

from quickalign.core import spec_file
from quickalign.core.program import run_program
from quickalign.core.startup import uncollected
from quickalign.export.spec import ExportSpec


def _run(file: Path, journal: Path | None = None) -> None:
    spec = spec_file.load(ExportSpec, file)
    with uncollected():  # a wrong spec is told before torch is loaded
        from quickalign.export.run import export, sentence  # noqa: PLC0415
        from quickalign.train.task_observer import task_observer  # noqa: PLC0415

    with task_observer(journal) as (observer, save_result):
        found = export(spec, observer)
        sys.stdout.write(f"exported: {found.folder} sha256 {found.weights_sha256}\n")
        save_result(
            {
                "adapter": str(found.folder),
                "adapter_sha256": found.weights_sha256,
                "summary": sentence(found.parity),
                "results": {"bytes": found.bytes, "form": found.form, "parity": found.parity.model_dump()},
            }
        )


if __name__ == "__main__":
    sys.exit(run_program(_run, sys.argv[1:], most=2))
