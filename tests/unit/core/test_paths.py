"""The home: whoever makes it first, nobody but its owner reads in it."""

import stat

import pytest

from quickalign.core import atomic, paths


def mode(folder):
    return stat.S_IMODE(folder.stat().st_mode)


@pytest.fixture
def home(tmp_path, monkeypatch):
    folder = tmp_path / "state" / "home"
    monkeypatch.setenv("QUICKALIGN_HOME", str(folder))
    return folder


def write_file(home):
    atomic.write_text(home / "cache" / "fingerprints.json", "{}")


def write_folder(home):
    with atomic.folder(home / "merged" / "one"):
        pass


def make_folder(home):
    paths.make_folder(home / "models")


@pytest.mark.parametrize("make", [write_file, write_folder, make_folder])
def test_the_home_is_its_owners_alone(home, make):
    make(home)
    assert mode(home) == 0o700


def test_a_home_that_is_there_keeps_its_mode(home):
    home.mkdir(parents=True, mode=0o750)
    write_file(home)
    assert mode(home) == 0o750


def test_other_folders_are_made_as_everywhere(tmp_path, home):
    (tmp_path / "plain").mkdir()
    atomic.write_text(tmp_path / "runs" / "first" / "report.json", "{}")
    assert mode(tmp_path / "runs") == mode(tmp_path / "plain")
    assert not home.exists()
