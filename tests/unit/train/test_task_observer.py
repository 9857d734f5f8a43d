"""What a program tells a server through its journal, also where the disk has no room for it."""

import errno
import json

import pytest

from quickalign.core.errors import FullDiskError
from quickalign.train import journal
from quickalign.train.task_observer import task_observer

FULL = FullDiskError("The disk of output is full.", "Free some space.")


def test_an_error_is_left_for_the_server(tmp_path):
    with pytest.raises(FullDiskError), task_observer(tmp_path):
        raise FULL
    assert json.loads((tmp_path / "error.json").read_text())["exit_code"] == 74


def test_an_error_that_finds_no_room_for_its_file_is_the_same_error(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(FullDiskError) as caught, task_observer(tmp_path):
        monkeypatch.setattr(journal, "_replace", full)
        raise FULL
    assert caught.value is FULL
