"""Folders of a home may be links to a larger disk, across which nothing can be renamed."""

import errno
from pathlib import Path

import pytest

from quickalign.core.wire.jobs import JobState
from quickalign.core.wire.services import ServiceState
from tests.support.platforms import drive_to, open_stub, stub_job, write_data
from tests.support.services import Stage


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """A folder that behaves as another disk."""
    large = (tmp_path / "large").resolve()
    large.mkdir()

    def is_there(path: Path) -> bool:
        return large in (path.parent.resolve() / path.name).parents

    def within_a_disk(move):
        def moved(self, target):
            if is_there(self) != is_there(Path(target)):
                raise OSError(errno.EXDEV, "Invalid cross-device link")
            return move(self, target)

        return moved

    for name in ("rename", "replace"):
        monkeypatch.setattr(Path, name, within_a_disk(getattr(Path, name)))
    return large


def linked(disk, home, *names):
    home.mkdir()
    for name in names:
        (disk / name).mkdir()
        (home / name).symlink_to(disk / name)
    return home


@pytest.mark.parametrize("names", [("jobs",), ("blobs",), ("trash",), ("jobs", "blobs")])
def test_jobs_and_files_come_and_go(tmp_path, disk, names):
    platform = open_stub(linked(disk, tmp_path / "home", *names))
    try:
        with platform.files.begin("rows.json") as upload:
            upload.write(b"[1]")
            stored = upload.commit()
        assert platform.files.path(stored.id).read_bytes() == b"[1]"
        job = drive_to(platform, platform.jobs.create(stub_job(write_data(tmp_path))), JobState.SUCCEEDED)
        platform.jobs.delete(job.id)
        platform.files.delete(stored.id)
        assert not [file for file in tmp_path.rglob("*") if file.is_file() and job.id in str(file)]
        assert not list(platform.home.jobs.iterdir())
        assert not [file for file in platform.home.blobs.rglob("*") if file.is_file()]
    finally:
        platform.close()


def test_a_service_is_deleted(tmp_path, disk):
    stage = Stage(linked(disk, tmp_path / "home", "services"))
    try:
        stage.running()
        stage.services.delete("tiny")
        stage.finish_stopping()
        assert [one.name for one in stage.services.list(states=[ServiceState.DELETED]).items] == ["tiny"]
        assert not list(disk.rglob("*.json"))
    finally:
        stage.platform.close()


def test_what_a_killed_server_had_set_aside_is_removed(tmp_path, disk):
    home = linked(disk, tmp_path / "home", "jobs")
    open_stub(home).close()
    aside = home / "jobs" / ".trash-job-a-x"
    aside.mkdir()
    (aside / "spec.json").write_text("{}")
    open_stub(home).close()
    assert not aside.exists()
