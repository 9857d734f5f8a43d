"""What a wrapper leaves where that is hard."""

import errno

import pytest

from quickalign.platform.executors import records, wrapper
from quickalign.platform.executors.records import Exit

ENDED = Exit(lease_token="mine", code=74, message="A disk is full.", finished_at=1.0)


def test_how_a_run_ended_is_said_as_soon_as_a_full_disk_has_room(tmp_path, monkeypatch):
    replace, full = records.replace, [errno.ENOSPC, errno.EDQUOT]

    def write(path, record):
        if full:
            raise OSError(full[0], "No space")
        replace(path, record)

    monkeypatch.setattr(records, "replace", write)
    monkeypatch.setattr(wrapper.time, "sleep", lambda seconds: full.pop())
    wrapper._leave(tmp_path / records.EXIT, ENDED)
    assert records.read(tmp_path / records.EXIT, Exit) == ENDED


def test_a_folder_that_is_gone_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(wrapper.time, "sleep", lambda seconds: pytest.fail("it waits"))
    with pytest.raises(FileNotFoundError):
        wrapper._leave(tmp_path / "gone" / records.EXIT, ENDED)
