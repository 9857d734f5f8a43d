"""What a wrapper concludes from its heartbeat, from what it is asked, and from what started it."""

import os
import signal

import pytest

from quickalign.platform.executors import records
from quickalign.platform.executors.records import Claim, Lease
from quickalign.platform.executors.watch import YIELD_SECONDS, Watch


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def watch(tmp_path, now):
    return make(tmp_path, now)


def make(folder, now, **lease):
    values = {"job": "a", "attempt": 1, "lease_token": "t", "command": ("c",), "folder": "/", "fence_seconds": 20.0}
    return Watch(folder, Lease(**(values | lease)), clock=lambda: now[0])


def test_it_beats(watch, tmp_path, now):
    for second in range(0, 100, 10):
        now[0] = second
        watch.beat()
        watch.look()
    assert (tmp_path / records.HEARTBEAT).exists()
    assert not watch.asked
    assert watch.condemned is None


def test_cut_off_from_the_disk_it_ends_before_anybody_may_think_it_gone(watch, now, monkeypatch):
    watch.beat()
    monkeypatch.setattr("quickalign.platform.executors.watch.records.touch", lambda path: False)
    now[0] = 19.0
    watch.beat()
    watch.look()
    assert watch.condemned is None
    now[0] = 21.0
    watch.look()
    assert "could not reach" in watch.condemned


def test_after_a_long_sleep_it_does_not_beat_again(watch, tmp_path, now):
    watch.beat()
    (tmp_path / records.HEARTBEAT).unlink()
    now[0] = 3600.0
    watch.beat()
    assert not (tmp_path / records.HEARTBEAT).exists()
    assert watch.condemned


def test_on_the_server_s_own_machine_a_full_disk_ends_nothing(tmp_path, now):
    watch = make(tmp_path / "gone", now, fence_seconds=None)
    now[0] = 3600.0
    watch.beat()
    watch.look()
    assert watch.condemned is None


def test_it_is_asked_by_files(watch, tmp_path):
    (tmp_path / records.STOP).touch()
    watch.beat()
    assert watch.asked
    assert watch.condemned is None
    (tmp_path / records.KILL).touch()
    watch.beat()
    assert watch.condemned == "It was asked to end at once."


@pytest.mark.parametrize("claim", [{"lease_token": "another"}, {"lease_token": "t", "revoked": True}])
def test_a_claim_that_is_not_its_own_ends_it(watch, tmp_path, claim):
    records.create(tmp_path / records.CLAIM, Claim(attempt=1, **claim))
    watch.beat()
    assert watch.condemned == "Its claim is not its own any more."


def test_with_a_gpu_it_stops_when_what_started_it_is_gone(tmp_path, now, monkeypatch):
    watch = make(tmp_path, now, yields=True)
    watch.look()
    assert not watch.asked
    monkeypatch.setattr(os, "getppid", lambda: 1)
    now[0] = 5.0
    watch.look()
    assert watch.asked
    assert watch.condemned is None
    now[0] = 6.0 + YIELD_SECONDS
    watch.look()
    assert watch.condemned == "What had started it is gone, and it did not stop."


def test_without_one_it_goes_on(watch, now, monkeypatch):
    monkeypatch.setattr(os, "getppid", lambda: 1)
    watch.beat()
    watch.look()
    assert not watch.asked


def test_while_results_are_copied_a_request_comes_as_a_signal(watch, tmp_path, monkeypatch):
    sent = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    monkeypatch.setattr("quickalign.platform.executors.watch.BEAT_SECONDS", 0.001)
    (tmp_path / records.STOP).touch()
    watch.copying = True
    watch._run()
    assert sent == [(os.getpid(), signal.SIGTERM)]
