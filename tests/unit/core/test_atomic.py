"""Files and folders are whole or absent."""

import os
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quickalign.core import atomic


def test_a_file_is_replaced_as_a_whole(tmp_path):
    file = tmp_path / "deep" / "file"
    atomic.write_text(file, "old")
    atomic.write_text(file, "new")
    assert file.read_text() == "new"
    assert [path.name for path in file.parent.iterdir()] == ["file"]


def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "file"
    atomic.write_text(file, "old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        atomic.write_text(file, "new")
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_appears_only_when_it_is_complete(tmp_path):
    target = tmp_path / "folder"
    with atomic.folder(target) as temporary:
        (temporary / "a").write_text("1")
        assert not target.exists()
    with pytest.raises(RuntimeError), atomic.folder(target) as temporary:
        (temporary / "a").write_text("2")
        raise RuntimeError
    assert (target / "a").read_text() == "1"
    with atomic.folder(target) as temporary:
        (temporary / "b").write_text("3")
    assert [path.name for path in target.iterdir()] == ["b"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_leftovers_of_a_killed_process_are_removed(tmp_path):
    (tmp_path / ".tmp-step-1-99").mkdir()
    (tmp_path / ".tmp-step-1-99" / "half").write_text("")
    (tmp_path / ".tmp-file-99").write_text("")
    (tmp_path / "step-1").mkdir()
    atomic.remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-1"]


@given(content=st.binary(max_size=1000))
def test_any_bytes(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("bytes") / "file"
    atomic.write_bytes(file, content)
    assert file.read_bytes() == content


def test_a_folder_that_is_being_removed_when_the_process_dies_is_gone_all_the_same(tmp_path, monkeypatch):
    folder = tmp_path / "step-1"
    folder.mkdir()
    (folder / "state.json").write_text("{}")
    (folder / "weights").write_text("...")

    def killed(path, **_: object):
        if path.exists():
            (path / "state.json").unlink()
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            atomic.remove_folder(folder)
    assert not folder.exists()
    atomic.remove_leftovers(tmp_path)
    assert not list(tmp_path.iterdir())
