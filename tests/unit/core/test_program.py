"""How programs end: the code, and the one sentence."""

import subprocess
import sys
from pathlib import Path

import pytest

from quickalign.core.errors import NotFoundError
from quickalign.core.program import AWAY, CRASHED, exit_code, run_program


def _fail(error: Exception) -> int:
    raise error


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (NotFoundError("There is no x."), NotFoundError.exit_code, "error: There is no x."),
        (ConnectionError("gone"), AWAY, "error: gone"),
        (KeyError("y"), CRASHED, "KeyError: 'y'"),
    ],
)
def test_an_error_has_its_code_and_says_what_it_is(capsys, error, code, said):
    assert exit_code(lambda: _fail(error), away=(ConnectionError,)) == code
    assert capsys.readouterr().err.rstrip().endswith(said)


def test_what_the_work_returns_is_the_code(capsys):
    assert [exit_code(lambda: None), exit_code(lambda: 3)] == [0, 3]
    assert capsys.readouterr().err == ""


def test_paths_are_handed_on_and_counted(capsys):
    found = []
    assert run_program(lambda *paths: found.extend(paths), ["a", "b"], most=2) == 0
    assert found == [Path("a"), Path("b")]
    for arguments in ([], ["a", "b"]):
        assert run_program(found.append, arguments) == 2
        assert "argument" in capsys.readouterr().err


def test_leaving_says_everything_and_runs_nothing_more():
    program = "import atexit; from quickalign.core.program import leave; atexit.register(print, 'late'); print('said'); leave(5)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (5, "said\n")
