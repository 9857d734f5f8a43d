"""Which server a home has: the one that wrote the file and still lives, and never another process of its pid."""

import json
import os
import stat
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest

from quickalign.core.errors import AccessError, OptionError, StorageError, UnavailableError
from quickalign.sdk import discover
from quickalign.sdk.place import Place, named


@pytest.fixture
def home(tmp_path):
    (tmp_path / "log").mkdir()
    return tmp_path


def write(home, **values):
    content = {"endpoint": "http://127.0.0.1:1", "pid": os.getpid(), "create_time": psutil.Process().create_time()}
    (home / "server.json").write_text(json.dumps(content | {"version": "0", "started_at": 0.0} | values))


@pytest.fixture
def answering(monkeypatch):
    monkeypatch.setattr(discover, "_answers", lambda endpoint: True)


def test_a_living_server_is_found(home, answering):
    write(home)
    found = discover.find(home)
    assert found is not None
    assert found.pid == os.getpid()


def test_a_server_that_does_not_answer_is_none(home):
    write(home)
    assert discover.find(home) is None


def test_a_reused_pid_is_no_server_and_is_never_stopped(home, answering):
    write(home, create_time=psutil.Process().create_time() - 60)
    assert discover.find(home) is None
    assert discover.stop(home) is None


def test_a_dead_process_is_no_server(home, answering):
    child = subprocess.Popen([sys.executable, "-c", ""])
    created = psutil.Process(child.pid).create_time()
    child.wait()
    write(home, pid=child.pid, create_time=created)
    assert discover.find(home) is None


def test_a_zombie_is_no_server(home, answering):
    child = subprocess.Popen([sys.executable, "-c", ""])
    created = psutil.Process(child.pid).create_time()
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    write(home, pid=child.pid, create_time=created)
    assert discover.find(home) is None
    child.wait()


@pytest.mark.parametrize("content", ["", "[]", "{", '{"pid": 1}', "\0"])
def test_a_damaged_file_is_no_server(home, content):
    (home / "server.json").write_text(content)
    assert discover.find(home) is None
    assert discover.stop(home) is None


def test_stop_ends_the_process_and_waits_for_it(home):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    write(home, pid=child.pid, create_time=psutil.Process(child.pid).create_time())
    stopped = discover.stop(home)
    assert stopped is not None
    assert stopped.pid == child.pid
    assert child.wait(5) == -15


def program(tmp_path, monkeypatch, body):
    """Let `body` be what is started instead of the server."""
    script = tmp_path / "server"
    script.write_text(f"#!{sys.executable}\nimport json, os, sys, time\n{body}")
    script.chmod(0o755)
    monkeypatch.setattr(discover.sys, "executable", str(script))


def test_a_server_that_cannot_start_is_told_with_the_last_lines_it_said(home, tmp_path, monkeypatch):
    program(tmp_path, monkeypatch, "print('line one')\nprint('Port 8421 is taken.')\nsys.exit(3)")
    with pytest.raises(UnavailableError, match=r"exit code 3[\s\S]*Port 8421 is taken") as caught:
        discover.start(home)
    assert "server.log" in (caught.value.remedy or "")


def test_a_server_that_cannot_start_on_a_full_disk_is_told_so_though_its_log_has_no_room(home, tmp_path, monkeypatch):
    program(tmp_path, monkeypatch, "sys.exit(74)")
    monkeypatch.setattr(discover.shutil, "disk_usage", lambda place: SimpleNamespace(free=4096))
    with pytest.raises(StorageError, match=r"The disk that holds .* is full, .*exit code 74"):
        discover.start(home)


def test_a_home_that_is_made_is_for_its_owner_alone(tmp_path, monkeypatch):
    program(tmp_path, monkeypatch, "sys.exit(3)")
    home = tmp_path / "above" / "home"
    with pytest.raises(UnavailableError):
        discover.start(home)
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (home, home / "log")] == [0o700, 0o700]


def test_a_large_log_is_set_aside_when_a_server_starts(home, tmp_path, monkeypatch):
    program(tmp_path, monkeypatch, "import sys; sys.exit(2)")
    log = discover.log_file(home)
    with log.open("wb") as large:
        large.truncate(17 << 20)
    with pytest.raises(UnavailableError):
        discover.start(home)
    assert log.stat().st_size < 1 << 20
    assert log.with_name("server.log.1").stat().st_size == 17 << 20


def test_a_server_that_never_gets_ready_is_ended(home, tmp_path, monkeypatch):
    monkeypatch.setattr(discover, "_START_SECONDS", 0.5)
    program(tmp_path, monkeypatch, "open(sys.argv[4] + '/pid', 'w').write(str(os.getpid()))\ntime.sleep(60)")
    with pytest.raises(UnavailableError, match="was not ready"):
        discover.start(home)
    pid = int((home / "pid").read_text())
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_program_and_its_home_are_what_was_agreed(home, tmp_path, monkeypatch):
    program(tmp_path, monkeypatch, "print(json.dumps([sys.argv[1:], os.getsid(0) == os.getpid()]))\nsys.exit(1)")
    with pytest.raises(UnavailableError):
        discover.start(home)
    arguments, own_session = json.loads((home / "log" / "server.log").read_text())
    assert arguments == ["-m", "quickalign.server", "--home", str(home), "--port", "0"]
    assert own_session


def test_a_running_server_is_not_started_again(home, answering, tmp_path, monkeypatch):
    program(tmp_path, monkeypatch, "sys.exit('must not run')")
    write(home)
    assert discover.start(home).pid == os.getpid()


def test_the_token_is_read_and_its_absence_told(home, answering):
    write(home)
    with pytest.raises(AccessError, match="token"):
        discover.find_or_start(home)
    (home / "token").write_text("qa-abc\n")
    assert discover.find_or_start(home) == Place("http://127.0.0.1:1", "qa-abc", home)


def test_a_server_is_named_by_arguments_before_the_environment(monkeypatch):
    assert named(None, None) is None
    monkeypatch.setenv("QUICKALIGN_ENDPOINT", "https://one.example/")
    monkeypatch.setenv("QUICKALIGN_TOKEN", "t1")
    assert named(None, None) == Place("https://one.example", "t1")
    assert named("http://127.0.0.1:9", "t2") == Place("http://127.0.0.1:9", "t2")


def test_an_endpoint_needs_a_token_and_a_token_an_endpoint():
    with pytest.raises(AccessError, match="QUICKALIGN_TOKEN"):
        named("http://h", None)
    with pytest.raises(OptionError, match="endpoint"):
        named(None, "t")


@pytest.mark.parametrize("address", ["h:80", "ftp://h", "http://", "http://h?x=1", "/path"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(OptionError, match="address"):
        named(address, "t")


@pytest.mark.parametrize(
    ("address", "own"),
    [
        ("http://127.0.0.1:8", True),
        ("http://localhost:8", True),
        ("http://[::1]:8", True),
        ("http://10.0.0.2:8", False),
    ],
)
def test_loopback_is_told_apart(address, own):
    assert Place(address, "t").is_loopback is own
