"""A folder that a program works in: nothing is left of one in which nothing was done, and everything of others."""

import subprocess
import sys

import pytest

from quickalign.core.errors import OptionError
from quickalign.core.working_folder import working_folder

TAKEN = OptionError("It is taken.")


def fail_in(folder, *files):
    with pytest.raises(KeyError), working_folder(folder, TAKEN):
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("x")
        raise KeyError


@pytest.mark.parametrize("files", [(), ("spec.json",)])
def test_a_block_that_fails_at_once_leaves_nothing(tmp_path, files):
    fail_in(tmp_path / "runs" / "first", *files)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("files", [("data/tokens.bin",), ("spec.json", "work/model/answers.jsonl")])
def test_what_was_computed_stays(tmp_path, files):
    fail_in(tmp_path / "first", *files)
    assert all((tmp_path / "first" / name).read_text() == "x" for name in files)


def test_a_folder_that_was_there_stays(tmp_path):
    (tmp_path / "first").mkdir()
    fail_in(tmp_path / "first")
    assert (tmp_path / "first").is_dir()


def test_only_the_new_folders_above_it_go(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "other").mkdir()
    fail_in(tmp_path / "runs" / "first" / "try")
    assert [folder.name for folder in (tmp_path / "runs").iterdir()] == ["other"]


def test_it_is_held_against_other_processes(tmp_path):
    program = (
        "import sys\nfrom pathlib import Path\nfrom quickalign.core.errors import OptionError\n"
        "from quickalign.core.working_folder import working_folder\n"
        "with working_folder(Path(sys.argv[1]), OptionError('It is taken.')): pass\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "first")]
    with working_folder(tmp_path / "first", TAKEN):
        other = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "OptionError: It is taken." in other.stderr
    assert (tmp_path / "first").is_dir()
    assert subprocess.run(command, check=False).returncode == 0
