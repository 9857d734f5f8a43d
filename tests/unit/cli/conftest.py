"""Runs that are recorded instead of trained."""

import sys
from types import SimpleNamespace

import pytest

from quickalign.cli.main import main
from quickalign.core.spec import RunSpec
from quickalign.sdk import discover


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty home, no server, and a width that does not depend on where the tests run."""
    monkeypatch.setenv("QUICKALIGN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("QUICKALIGN_DEBUG", "QUICKALIGN_ENDPOINT", "QUICKALIGN_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(discover, "_launch", lambda *_: pytest.fail("a server was started"))
    return tmp_path / "home"


@pytest.fixture
def recorded(monkeypatch):
    """The specifications that `train` was asked for; nothing is trained."""
    specs: list[RunSpec] = []
    fake = SimpleNamespace(run=lambda spec, observer: specs.append(spec))
    monkeypatch.setitem(sys.modules, "quickalign.train.run", fake)
    return specs


@pytest.fixture
def failing(monkeypatch):
    """`failing(error)` makes every training run raise `error`."""

    def install(error: BaseException) -> None:
        def run(spec, observer):
            raise error

        monkeypatch.setitem(sys.modules, "quickalign.train.run", SimpleNamespace(run=run))

    return install


@pytest.fixture
def cli(capsys):
    """`cli(*arguments)` runs one command line; returns (exit code, standard output, standard error)."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(list(arguments))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
