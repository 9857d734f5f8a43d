import errno
import io
import json
import os
import subprocess
import sys

import pytest

from quickalign.cluster.training_group import Share
from quickalign.cluster.training_link import ORPHANED, Tail, TrainingLink
from quickalign.cluster.training_worker import work
from quickalign.core import atomic
from quickalign.core.errors import FullDiskError, Interrupted, ModelError

WATCHED = """
import sys, time
from pathlib import Path
from quickalign.cluster import training_link
training_link.SILENT_SECONDS, training_link._LOOK_SECONDS = 1.0, 0.05
training_link.TrainingLink(Path(sys.argv[1]), "old").watch()
print("watching", flush=True)
time.sleep(60)
"""


@pytest.fixture
def link(tmp_path):
    found = TrainingLink(tmp_path, "old")
    found.open()
    return found


def watched(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", WATCHED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "watching\n"
    return process


def test_a_worker_ends_when_its_driver_is_silent(link, tmp_path):
    assert watched(tmp_path).wait(20) == ORPHANED


def test_a_worker_ends_when_another_driver_has_taken_over(link, tmp_path):
    process = watched(tmp_path)
    TrainingLink(tmp_path, "new").open()
    while process.poll() is None:
        link.beat()
    assert process.returncode == ORPHANED


def test_a_worker_ends_when_its_driver_closes(link, tmp_path):
    process = watched(tmp_path)
    link.close()
    assert process.wait(20) == ORPHANED
    assert not link.folder.exists()


def test_a_driver_that_was_replaced_does_not_end_the_workers_of_the_new_one(link, tmp_path):
    TrainingLink(tmp_path, "new").open()
    link.close()
    assert (tmp_path / "current").read_text() == "new"


def test_the_first_failure_stays(link):
    assert link.failure() is None
    link.fail(ModelError("No such model.", "Name another."))
    link.fail(Interrupted("Stopped."))
    found = link.failure()
    assert (found.exit_code, found.message, found.kind) == (4, "No such model. Name another.", "ModelError")


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_failure_has_room_on_a_full_disk(link, monkeypatch):
    write, reserve = atomic.write_text, link.folder / "reserve"
    held = reserve.stat().st_blocks * 512
    monkeypatch.setattr(atomic, "write_text", lambda *given: full() if reserve.exists() else write(*given))
    link.fail(FullDiskError("A disk is full.", "Free some space."))
    assert link.failure().exit_code == 74
    assert (link.folder / "failure.json").stat().st_size < held


def test_a_beat_writes_over_the_one_before(link):
    with (link.folder / "beat").open("rb", buffering=0) as opened:
        first = opened.read()
        link.beat()
        assert os.fstat(opened.fileno()).st_size == len(first)
        opened.seek(0)
        assert float(opened.read()) > float(first)


def test_a_worker_that_finds_a_full_disk_before_it_trains_says_so(link, tmp_path, monkeypatch):
    spec = tmp_path / "spec.json"
    values = {"model": "qwen2-tiny-instruct", "train": "rows.json", "output": str(tmp_path / "output")}
    spec.write_text(json.dumps(values | {"hyperparameters": {"training_strategy": "dpo"}}))
    monkeypatch.setenv("RANK", "0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(TrainingLink, "watch", lambda self: None)
    monkeypatch.setattr(TrainingLink, "take_environment", lambda self: None)
    monkeypatch.setattr(TrainingLink, "begin", full)
    with pytest.raises(FullDiskError):
        work({"link": str(tmp_path), "token": "old", "spec": str(spec), "folder": str(tmp_path)})
    assert (link.failure().exit_code, link.failure().kind) == (74, "FullDiskError")


def test_starts_are_counted_and_a_stop_is_seen(link):
    assert link.starts() == 0
    assert [link.begin(), link.begin()] == [1, 2]
    assert not link.is_stop_asked()
    link.ask_to_stop()
    assert link.is_stop_asked()


def test_a_worker_takes_the_environment_but_for_what_is_its_own(tmp_path, monkeypatch):
    for name, value in (("QUICKALIGN_HOME", "/shared"), ("AWS_KEY", "k"), ("MINE", "driver"), ("CUDA_X", "0")):
        monkeypatch.setenv(name, value)
    link = TrainingLink(tmp_path, "t")
    link.open()
    file = link.folder / "environment.json"
    assert file.stat().st_mode & 0o077 == 0
    assert "CUDA_X" not in json.loads(file.read_text())
    monkeypatch.setenv("QUICKALIGN_HOME", "/other")
    monkeypatch.setenv("MINE", "worker")
    monkeypatch.delenv("AWS_KEY")
    link.take_environment()
    assert [os.environ[name] for name in ("QUICKALIGN_HOME", "AWS_KEY", "MINE")] == ["/shared", "k", "worker"]


def test_the_tail_copies_whole_lines_once(tmp_path):
    said, file = io.StringIO(), tmp_path / "lines"
    tail = Tail(file, said)
    tail.copy()
    file.write_text("one\ntw", encoding="utf-8")
    tail.copy()
    file.write_text("one\ntwo 你好\n", encoding="utf-8")
    tail.copy()
    tail.copy()
    assert said.getvalue() == "one\ntwo 你好\n"


def test_a_share_names_what_it_takes():
    share = Share(cpus=0.5, gpus=1, memory_bytes=2_000_000_000)
    assert share.resources == {"CPU": 0.5, "GPU": 1.0, "memory": 2e9}
    assert str(share) == "0.5 CPU and 1 GPU and 2.0 GB"
    assert Share(gpus=0).resources == {"CPU": 1.0}
