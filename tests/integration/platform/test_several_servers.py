"""Two real servers on one home and one PostgreSQL database: either does what the other was asked, and outlives it."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from quickalign.platform.leadership import LEASE_SECONDS
from tests.support.homes import environment, fresh_home, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

HOST = "align.test"
ROWS = b'{"prompt": "a", "chosen": "b", "rejected": "c"}\n'
OPTIONS = {"training_strategy": "dpo", "load_in_4bit": False, "save_steps": 2}
STEP_SECONDS = 0.05


class Server:
    """A server process, and a client that reaches it as through a balancer: by a name that is not its own."""

    def __init__(self, home: Path, url: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.shared_server", str(home), url],
            stdout=subprocess.PIPE,
            stderr=(home.parent / "servers.log").open("ab"),
            text=True,
            env=environment(home, PYTHONPATH=os.pathsep.join(sys.path), QUICKALIGN_STUB_STEP_SECONDS=str(STEP_SECONDS)),
        )
        said = re.match(r"quickalign .* at (http://\S+)", self.process.stdout.readline())
        assert said, (home.parent / "servers.log").read_text()
        token = (home / "token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}", "Host": HOST}
        self.client = httpx.Client(base_url=said[1], headers=headers, timeout=20)
        wait_until(lambda: self.client.get("/readyz").status_code == 200)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)

    def upload(self) -> str:
        return self.client.post("/api/v1/files", params={"filename": "rows.jsonl"}, content=ROWS).json()["id"]

    def submit(self, file: str, steps: int, seed: int) -> str:
        options = OPTIONS | {"max_steps": steps, "seed": seed}
        spec = {"model": "qwen2-tiny-instruct", "train": file, "hyperparameters": options}
        made = self.client.post("/api/v1/jobs", json={"spec": spec}, headers={"Idempotency-Key": f"seed-{seed}"})
        assert made.is_success, made.text
        return made.json()["id"]

    def state(self, job: str) -> str:
        return self.client.get(f"/api/v1/jobs/{job}").json()["state"]

    def follow(self, job: str, last: int = 0, stop: int | None = None) -> list[dict]:
        """The events after `last` as the stream gives them, to the end or to the event `stop`."""
        seen: list[dict] = []
        headers = {"Last-Event-ID": str(last)} if last else {}
        with self.client.stream("GET", f"/api/v1/jobs/{job}/events/stream", headers=headers) as answer:
            for line in answer.iter_lines():
                if line.startswith('data: {"sequence"'):
                    seen.append(json.loads(line.removeprefix("data: ")))
                if stop is not None and seen and seen[-1]["sequence"] >= stop:
                    break
        return seen


@contextmanager
def stopped(server: Server):
    """The process stands still, and then goes on, as a machine that was suspended does."""
    server.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.process.send_signal(signal.SIGCONT)


@pytest.fixture(scope="module")
def place(tmp_path_factory, postgres):
    with fresh_home(tmp_path_factory.mktemp("several")) as home:
        (home / "config.toml").write_text(f'public_url = "http://{HOST}"\n')
        yield home, postgres.database()


@pytest.fixture(scope="module")
def running(place):
    """The servers that live; `two` makes them two."""
    servers: list[Server] = []
    yield servers
    for server in servers:
        server.client.close()
        server.kill()


def two(place, running: list[Server]) -> tuple[Server, Server]:
    """The server that leads, and the other one."""
    while len(running) < 2:
        running.append(Server(*place))
    pid = leader(place[1])
    leading, other = sorted(running, key=lambda server: server.process.pid != pid)
    assert leading.process.pid == pid, "somebody else leads"
    return leading, other


def leader(url: str) -> int:
    with psycopg.connect(url) as connection:
        return json.loads(connection.execute("SELECT holder FROM leadership").fetchone()[0])["process"]["pid"]


def fence(url: str) -> int:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT fence FROM leadership").fetchone()[0]


def expected(steps: int, seed: int) -> bytes:
    """What the stub trainer makes of so many steps."""
    state, data = hashlib.sha256(b"base").hexdigest(), hashlib.sha256(ROWS).hexdigest()
    for step in range(steps):
        state = hashlib.sha256(f"{state} {data} {seed} {step}".encode()).hexdigest()
    return state.encode()


def check_ended_once(home: Path, events: list[dict], job: str, steps: int, seed: int) -> None:
    """It has the right bytes, and went the straight way through its states: one attempt, never two at once."""
    assert (home / "jobs" / job / "output/adapter/adapter_model.safetensors").read_bytes() == expected(steps, seed)
    states = [event["data"]["to"] for event in events if event["kind"] == "state"]
    assert states == ["queued", "starting", "running", "succeeded"]
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert not (home / "jobs" / job / "output" / "TWO-AT-ONCE").exists()


def test_one_is_asked_the_other_is_followed_and_the_leader_is_killed(place, running):
    home, url = place
    first, second = two(place, running)
    began, steps = fence(url), int(1.5 * LEASE_SECONDS / STEP_SECONDS)
    cookies = first.client.post("/console/signin", data={"token": (home / "token").read_text()}).cookies
    page = second.client.get("/console/jobs", headers={"Cookie": "; ".join(f"{k}={v}" for k, v in cookies.items())})
    assert page.status_code == 200, "who signed in at one is signed in at the other"
    file = first.upload()
    job = second.submit(file, steps, seed=3)
    assert first.submit(file, steps, seed=3) == job, "the same request with the same key is the same job at both"
    wait_until(lambda: second.state(job) == "running")
    events = first.follow(job, stop=3)
    first.kill()
    running.remove(first)
    killed_at = time.monotonic()
    last = events[-1]["sequence"]
    events += second.follow(job, last=last, stop=last + 1)
    wait_until(lambda: fence(url) == began + 1)
    assert time.monotonic() - killed_at < LEASE_SECONDS, "its end was seen, and nobody waited for the lease"
    events += two(place, running)[1].follow(job, last=events[-1]["sequence"])
    check_ended_once(home, events, job, steps, 3)
    log = second.client.get(f"/api/v1/jobs/{job}/artifacts/metrics.jsonl").text
    assert log.count("\n") == steps


def test_a_leader_that_stands_still_is_replaced_and_does_nothing_when_it_goes_on(place, running):
    home, url = place
    leading, other = two(place, running)
    before, file = fence(url), other.upload()
    with stopped(leading):
        job = other.submit(file, 20, seed=5)
        wait_until(lambda: other.state(job) == "running", 3 * LEASE_SECONDS)
        assert fence(url) == before + 1
        late = other.submit(file, 20, seed=6)
    wait_until(lambda: leading.client.get("/readyz").status_code == 200)
    for one, seed in ((job, 5), (late, 6)):
        check_ended_once(home, leading.follow(one), one, 20, seed)
    assert fence(url) == before + 1, "the other still leads"
