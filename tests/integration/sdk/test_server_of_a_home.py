"""The server of a home as clients find, start and stop it: real processes."""

import json
import os
import signal
import subprocess
import sys

import psutil
import pytest

from quickalign.core.errors import UnavailableError
from quickalign.sdk import discover
from quickalign.sdk.session import Session
from tests.support.homes import environment, fresh_home, run, servers_of, wait_until

LOOK = "from quickalign import get_default_session as s; print(s().server.info().home, s().endpoint)"


@pytest.fixture
def home(tmp_path):
    with fresh_home(tmp_path) as made:
        yield made


def start_clients(home, number):
    command = [sys.executable, "-c", LOOK]
    return [
        subprocess.Popen(command, env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(number)
    ]


@pytest.mark.slow
def test_programs_that_begin_at_once_start_one_server_and_share_it(home):
    said = [client.communicate(timeout=120) for client in start_clients(home, 4)]
    assert len({out for out, _ in said}) == 1, said
    assert len(servers_of(home)) == 1
    assert said[0][0].split()[0] == str(home)
    again, _ = start_clients(home, 1)[0].communicate(timeout=120)
    assert again == said[0][0]


@pytest.mark.slow
def test_a_killed_server_is_noticed_and_replaced_and_the_session_finds_the_new_one(home):
    session = Session(home=home)
    assert session.server.info().home == str(home)
    first = discover.read(home)
    psutil.Process(first.pid).kill()
    assert session.server.info().home == str(home)
    second = discover.read(home)
    assert second.pid != first.pid
    assert len(servers_of(home)) == 1


@pytest.mark.slow
def test_the_command_line_starts_shows_and_stops_it(home, tmp_path):
    assert run(home, tmp_path, "server", "status").returncode == 12
    started = run(home, tmp_path, "server", "start", "--port", "0", "--json")
    assert started.returncode == 0, started.stdout + started.stderr
    found = json.loads(started.stdout)
    status = json.loads(run(home, tmp_path, "server", "status", "--json").stdout)
    assert (status["endpoint"], status["pid"]) == (found["endpoint"], found["pid"])
    assert run(home, tmp_path, "server", "start").returncode == 0
    assert run(home, tmp_path, "server", "start", "--port", "9").returncode == 9
    stopped = run(home, tmp_path, "server", "stop")
    assert stopped.returncode == 0, stopped.stderr
    assert not servers_of(home)
    assert not (home / "server.json").exists()


@pytest.mark.slow
def test_it_outlives_the_program_that_started_it_and_its_terminal(home):
    client = start_clients(home, 1)[0]
    _, err = client.communicate(timeout=120)
    assert client.returncode == 0, err
    server = servers_of(home)[0]
    assert os.getsid(server.pid) == server.pid
    assert server.is_running()


@pytest.mark.slow
def test_the_token_is_the_user_s_alone_and_never_printed_again(home):
    Session(home=home).server.info()
    token = home / "token"
    assert token.stat().st_mode & 0o777 == 0o600
    discover.stop(home)
    log = discover.log_file(home).read_text()
    discover.start(home)
    assert token.read_text().strip() not in discover.log_file(home).read_text()[len(log) :]


@pytest.mark.slow
def test_a_server_that_cannot_start_says_why(home):
    (home / "config.toml").write_text("prot = 1\n")
    with pytest.raises(UnavailableError) as caught:
        discover.find_or_start(home)
    assert "prot" in str(caught.value)
    assert "Traceback" not in str(caught.value)


@pytest.mark.slow
def test_running_in_the_foreground_ends_with_ctrl_c(home, tmp_path):
    command = [sys.executable, "-c", "from quickalign.cli.main import run; run()", "server", "run", "--port", "0"]
    process = subprocess.Popen(
        command, env=environment(home), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    wait_until(lambda: discover.find(home))
    assert discover.read(home).pid == process.pid
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert "Traceback" not in out
    assert discover.find(home) is None
