"""The program `lm_eval`: where it is, and one run of it.

It is never imported: its requirements differ from ours, and tasks may bring code of their own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quickalign.core.errors import OptionError, RunError

VARIABLE = "QUICKALIGN_LM_EVAL"
_INSTALL = (
    "Install it where it disturbs nothing (`python -m venv lm-eval && lm-eval/bin/pip install 'lm-eval[api]'`) and "
    f"name the program: {VARIABLE}=lm-eval/bin/lm_eval."
)
_KEPT_OUT = ("PYTHON", "QUICKALIGN", "VIRTUAL_ENV")
_LOG = "lm_eval.log"


def find_program() -> Path:
    """The program: what QUICKALIGN_LM_EVAL names, or else `lm_eval` beside this interpreter, or on PATH.

    Raises:
        OptionError: there is none.
    """
    if named := os.environ.get(VARIABLE):
        found = shutil.which(Path(named).expanduser())
        if found is None:
            raise OptionError(f"{VARIABLE}={named!r} names no program.", _INSTALL)
        return Path(found).absolute()
    found = shutil.which("lm_eval", path=str(Path(sys.executable).parent)) or shutil.which("lm_eval")
    if found is None:
        raise OptionError("The program lm_eval is not installed.", _INSTALL)
    return Path(found).absolute()


def run_program(program: Path, settings: Mapping[str, Any], folder: Path, environment: Mapping[str, str]) -> Any:
    """Run it with `settings` (those of its --config) in `folder`; returns the content of its file of results.

    Raises:
        OptionError: it knows no such task.
        RunError: it failed.
    """
    results = folder / "results"
    shutil.rmtree(results, ignore_errors=True)
    config = folder / "config.yaml"
    # JSON is YAML, and needs no care with what is in a path.
    config.write_text(json.dumps({**settings, "output_path": str(results)}), encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_KEPT_OUT)}
    log = folder / _LOG
    with log.open("wb") as stream:
        done = subprocess.run(
            [program, "run", "--config", config],
            env={**kept, **environment},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            check=False,
        )
    files = sorted(results.rglob("results_*.json"))
    if done.returncode != 0 or not files:
        raise _failure(done.returncode, log)
    return json.loads(files[-1].read_text(encoding="utf-8"))


def _failure(code: int, log: Path) -> OptionError | RunError:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    last = lines[-1].rstrip(".") if lines else "it said nothing"
    missing = last.partition("Tasks not found:")[2].strip()
    if missing:
        return OptionError(
            f"lm-eval knows no task {missing}.",
            "`lm_eval ls tasks` lists its own; name the folder of YAML files of yours with --lm-eval-tasks.",
        )
    return RunError(f"lm-eval failed with exit code {code}: {last[:300]}.", f"{log} has all that it said.")
