"""`quickalign pai run`: the script gets what is its own, options too."""

import sys

import pytest

from quickalign.cli.commands import pai
from quickalign.sdk.stock import environment


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        (["in.json", "--epochs", "3", "-v", "--x=1"], ["in.json", "--epochs", "3", "-v", "--x=1"]),
        (["--epochs", "3", "--python", sys.executable], ["--epochs", "3"]),
        (["--", "--python", "x"], ["--python", "x"]),
    ],
)
def test_the_script_s_options_are_the_script_s(cli, monkeypatch, tmp_path, given, passed):
    script = tmp_path / "script.py"
    script.write_text("")
    started = []
    monkeypatch.setattr(pai, "connect", lambda: None)
    monkeypatch.setattr(environment, "environment", lambda session: {"PAI_NETWORK_TYPE": "PUBLIC"})
    monkeypatch.setattr(pai.os, "execve", lambda program, command, variables: started.append((command, variables)))
    assert cli("pai", "run", str(script), *given)[0] == 0
    ((command, variables),) = started
    assert command[1:] == [str(script), *passed]
    assert variables["PAI_NETWORK_TYPE"] == "PUBLIC"
