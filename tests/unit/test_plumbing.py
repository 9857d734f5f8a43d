"""The repository's own tools: file lengths, the lock, and a set-up that happens once."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from scripts import check_file_length
from scripts.write_lock import locked

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements" / "lock.txt"


def write(path: Path, lines: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x = 1\n" * lines, encoding="utf-8")
    return path


def test_files_of_the_limit_pass_and_longer_ones_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "a" / "short.py", 10)
    write(tmp_path / "a" / "long.py", check_file_length.LIMIT)
    write(tmp_path / "a" / "empty.py", 0)
    assert check_file_length.main([str(tmp_path)]) == 0
    assert "2 files, median 305 lines, longest 600" in capsys.readouterr().out
    write(tmp_path / "b" / "longer.py", check_file_length.LIMIT + 1)
    assert check_file_length.main([str(tmp_path)]) == 1
    assert "longer.py has 601 lines" in capsys.readouterr().err


def test_a_folder_without_files_is_an_error(tmp_path: Path) -> None:
    assert check_file_length.main([str(tmp_path / "nothing")]) == 2


def test_the_lock_leaves_out_what_another_machine_must_not_get() -> None:
    freeze = "\n".join(
        [
            "numpy==2.4.6",
            "torch==2.13.0+cpu",
            "nvidia-cublas-cu13==13.1",
            "triton==3.6.0",
            "quickalign==0.1.0",
            "-e /somewhere",
            "# a comment",
            "thing @ file:///somewhere/thing.whl",
            "Jinja2==3.1.6",
        ]
    )
    assert locked(freeze) == ["Jinja2==3.1.6", "numpy==2.4.6", "torch==2.13.0"]


def test_the_lock_covers_what_the_project_needs() -> None:
    lines = [line for line in LOCK.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!]+", line) for line in lines)
    pinned = {normal(line.split("==")[0]) for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["dev"],
        *project["build-system"]["requires"],
    ]
    for requirement in wanted:
        name = re.match(r"[A-Za-z0-9._-]+", requirement)
        assert name
        assert normal(name[0]) in pinned, f"{requirement} is not in the lock; run `make lock`"


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_lock_and_the_makefile_name_the_same_pytorch() -> None:
    made = re.search(r"^TORCH_VERSION := (\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert made
    assert f"torch=={made[1]}" in LOCK.read_text(encoding="utf-8").splitlines()


def make(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["make", "--no-print-directory", *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder in which everything was set up just now."""
    requirements = ("requirements/lock.txt", "requirements/clients.txt", "requirements/pai-client.txt")
    for name in ("Makefile", "pyproject.toml", *requirements, ".venv/bin/python"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists() and not name.startswith(".venv"):
            shutil.copy(ROOT / name, file)
        else:
            file.touch()
        os.utime(file, (1_000_000_000, 1_000_000_000))
    for stamp in (".venv/.runtime", ".venv/.dev", ".venv-clients/.done", ".venv-pai/.done"):
        (tmp_path / stamp).parent.mkdir(exist_ok=True)
        (tmp_path / stamp).touch()
    return tmp_path


@pytest.mark.parametrize("target", ["quickstart", "test", "check"])
def test_a_second_run_sets_up_nothing(checkout: Path, target: str) -> None:
    assert "pip install" not in make(checkout, "--dry-run", target)


@pytest.mark.parametrize("changed", ["pyproject.toml", "requirements/lock.txt", ".venv"])
def test_set_up_happens_again_when_what_it_depends_on_changes(checkout: Path, changed: str) -> None:
    if changed == ".venv":
        shutil.rmtree(checkout / changed)
    else:
        later = (checkout / ".venv" / ".dev").stat().st_mtime + 10
        os.utime(checkout / changed, (later, later))
    planned = make(checkout, "--dry-run", "test")
    assert planned.index("torch==") < planned.index("--editable .")
    assert "--editable '.[dev]'" in planned


def test_quickstart_needs_no_development_tools(checkout: Path) -> None:
    shutil.rmtree(checkout / ".venv")
    assert "[dev]" not in make(checkout, "--dry-run", "quickstart")


def test_python_that_is_too_old_is_refused() -> None:
    condition = re.search(r"sys\.version_info < \((\d+), (\d+)\)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert condition
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["requires-python"] == f">={condition[1]}.{condition[2]}"
    assert sys.version_info >= (int(condition[1]), int(condition[2]))


def test_the_continuous_integration_script_is_executable_bash() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert "set -euo pipefail" in script.read_text(encoding="utf-8")
