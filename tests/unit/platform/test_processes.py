"""A process is its id, its start and its boot; a reused id is never taken for it."""

import os
import signal
import subprocess
import sys

import pytest

from quickalign.platform import processes
from quickalign.platform.processes import Identity, Sight, identify, look, send


@pytest.fixture
def sleeper():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def test_a_living_process_is_known(sleeper):
    identity = identify(sleeper.pid)
    assert look(identity) is Sight.ALIVE
    assert identify(sleeper.pid) == identity


def test_a_dead_one_is_gone_even_before_it_is_collected(sleeper):
    identity = identify(sleeper.pid)
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # a zombie now
    assert look(identity) is Sight.GONE
    assert identify(sleeper.pid) is None
    sleeper.wait()
    assert look(identity) is Sight.GONE


def test_a_reused_id_is_another_process(sleeper):
    identity = identify(sleeper.pid)
    earlier = identity.model_copy(update={"create_time": identity.create_time - 0.01})
    assert look(earlier) is Sight.GONE
    assert not send(earlier, signal.SIGKILL)
    assert sleeper.poll() is None


def test_after_a_reboot_the_same_id_and_start_are_another_process(sleeper):
    identity = identify(sleeper.pid)
    before = identity.model_copy(update={"boot_id": "another-boot"})
    assert look(before) is Sight.GONE
    assert not send(before, signal.SIGKILL)
    assert sleeper.poll() is None


def test_what_cannot_be_seen_is_unknown(monkeypatch, sleeper):
    identity = identify(sleeper.pid)

    def refuse(pid):
        raise PermissionError

    monkeypatch.setattr(processes, "_start", refuse)
    assert look(identity) is Sight.UNKNOWN
    assert not send(identity, signal.SIGKILL)


def test_an_id_nobody_has():
    assert identify(2**22 + 5) is None
    assert look(Identity(pid=2**22 + 5, create_time=1.0, boot_id=processes.boot_id())) is Sight.GONE


def test_whoever_holds_a_file_is_found_and_ended(tmp_path):
    file = tmp_path / "held"
    file.touch()
    holder = subprocess.Popen(
        [sys.executable, "-c", f"f = open({str(file)!r}); print('ready', flush=True); import time; time.sleep(600)"],
        stdout=subprocess.PIPE,
    )
    assert holder.stdout.readline() == b"ready\n"
    processes.kill_holders(file)
    assert holder.wait(10) == -signal.SIGKILL
    holder.stdout.close()


def test_what_a_process_starts_is_found_in_its_session_and_by_its_mark():
    program = (
        "import os, subprocess, sys, time\n"
        "nap = [sys.executable, '-c', 'import time; time.sleep(600)']\n"
        "subprocess.Popen(nap, env=os.environ | {'MARK': ''})\n"
        "subprocess.Popen(nap, start_new_session=True)\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)\n"
    )
    leader = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        start_new_session=True,
        env=os.environ | {"MARK": "found"},
    )
    assert leader.stdout.readline() == b"ready\n"
    identity = identify(leader.pid)
    found = processes.members(identity, "MARK=found")
    assert identity in found
    assert len(found) == 3
    assert processes.resident_bytes(found) > 3 << 20
    leader.kill()
    leader.wait()
    left = processes.members(identity, "MARK=found")
    assert set(left) == set(found) - {identity}
    for one in left:
        send(one, signal.SIGKILL)
    leader.stdout.close()
    assert processes.members(identity.model_copy(update={"boot_id": "another"}), "MARK=found") == ()
