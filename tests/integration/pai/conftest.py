"""The stock client of PAI in an environment of its own, and homes that it talks to."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.homes import COMMAND, environment

ROOT = Path(__file__).resolve().parents[3]
CLIENT = ROOT / ".venv-pai"


@pytest.fixture(scope="session")
def stock_python() -> Path:
    """The interpreter that has `alipai`; `make test` installs it."""
    python = Path(os.environ.get("QUICKALIGN_TEST_PAI", CLIENT)) / "bin" / "python"
    if not python.exists() and not os.environ.get("CI"):
        pytest.skip(f"PAI's client is not installed in {CLIENT.name}: `make {CLIENT.name}/.done` installs it")
    return python


def run_stock(
    python: Path, home: Path, folder: Path, script: Path, *arguments: str, **settings: str
) -> subprocess.CompletedProcess[str]:
    """`quickalign pai run SCRIPT` on `home`, to its end."""
    return subprocess.run(
        [*COMMAND, "pai", "run", "--python", str(python), str(script), *arguments],
        cwd=folder,
        env=environment(home, **settings),
        capture_output=True,
        text=True,
        timeout=590,
        check=False,
    )


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What a script printed behind TOLD."""
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    line = next(line for line in reversed(done.stdout.splitlines()) if line.startswith("TOLD "))
    found = json.loads(line.removeprefix("TOLD "))
    assert isinstance(found, dict)
    return found
