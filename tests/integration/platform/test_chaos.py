# ruff: noqa: T201 - the seed is told, so that a failure can be had again
"""Everything is killed at random moments, round after round, and nothing is lost.

QUICKALIGN_CHAOS_ROUNDS says how many rounds (12 in the suite; the figure of the project is made with 60). Each round the
server, a wrapper or a trainer gets SIGKILL after a random time, or one of them dies at a crash point between two
statements. Requests are sent with idempotency keys, so that what a dead server did not answer can be asked again.
"""

import json
import os
import random
import signal
import time
from itertools import pairwise
from pathlib import Path

import pytest

from quickalign.core.wire.jobs import JobState as S
from quickalign.platform import crashpoints
from quickalign.platform.executors import records
from quickalign.platform.executors.records import Claim
from quickalign.platform.home import Home
from quickalign.platform.jobs.states import FINAL, OCCUPYING, is_allowed
from quickalign.platform.processes import Sight, look
from tests.support.platforms import live_processes, open_stub, stub_job, write_data
from tests.support.server_process import Dead, Server

ROUNDS = int(os.environ.get("QUICKALIGN_CHAOS_ROUNDS", "12"))
SEEDS = range(4)
STEPS = 40
POINTS = (
    *(
        "blob.written",
        "blob.stored",
        "job.create.frozen",
        "job.create.done",
        "job.paused",
        "job.resumed",
        "job.cancelled",
    ),
    *("reconciler.announced", "reconciler.started", "reconciler.signalled", "reconciler.news", "reconciler.crash_seen"),
    *("reconciler.crash_done", "local.leased", "local.spawned", "local.revoked"),
    *(f"reconciler.{when}_{state}" for when in ("before", "after") for state in S if state is not S.STARTING),
    *("wrapper.before_claim", "wrapper.claimed", "wrapper.spawned", "wrapper.child_ended"),
    *("wrapper.before_exit", "wrapper.after_exit"),
)
STUB_ENVIRONMENT = {"QUICKALIGN_STUB_STEP_SECONDS": "0.03"}


class Chaos:
    """One home, one server at a time, and what was asked of it."""

    def __init__(self, folder: Path, dice: random.Random, url: str | None = None) -> None:
        self.folder, self.home, self.dice, self.url = folder, Home(folder / "home"), dice, url
        self.data = write_data(folder)
        self.home.root.mkdir()
        self.keys: dict[str, str | None] = {}
        self.cancelled: set[str] = set()
        self.kills: list[str] = []
        self.server: Server | None = None

    def round(self, number: int) -> None:
        point = self.dice.choice(POINTS) if self.dice.random() < 0.5 else None
        try:
            server = self.start(number, point)
            self.requests(server, number)
            end = time.monotonic() + self.dice.uniform(0, 1.2)
            while server.alive and time.monotonic() < end:
                time.sleep(0.02)
            self.kill_somebody(server)
        except Dead:
            self.kills.append(f"server at {point}")
            self.server = None

    def start(self, number: int, point: str | None) -> Server:
        if self.server is not None and self.server.alive and point is None:
            return self.server
        if self.server is not None:
            self.server.kill()
        environment = dict(STUB_ENVIRONMENT)
        if point is not None:
            environment |= {crashpoints.VARIABLE: point, crashpoints.ONCE: str(self.folder / f"crash-{number}")}
        self.server = Server(self.home.root, self.url, **environment)
        return self.server.ready()

    def requests(self, server: Server, number: int) -> None:
        for key, job in list(self.keys.items()):
            if job is None:  # asked, and never answered
                self.create(server, key)
        if number % 2 == 0:
            self.create(server, f"key-{number}-{self.dice.choice(SEEDS)}")
        jobs = [job for job in self.keys.values() if job]
        for _ in range(self.dice.randint(0, 2)):
            if jobs:
                server.call(self.dice.choice(["pause", "resume", "resume"]), job=self.dice.choice(jobs))
        if jobs and self.dice.random() < 0.1:
            job = self.dice.choice(jobs)
            self.cancelled.add(job)
            server.call("cancel", job=job)

    def create(self, server: Server, key: str) -> None:
        self.keys.setdefault(key, None)
        request = stub_job(self.data, steps=STEPS, seed=int(key.rpartition("-")[2]), max_retries=20)
        self.keys[key] = server.call("create", key=key, request=request.model_dump(mode="json"))["id"]

    def kill_somebody(self, server: Server) -> None:
        victim = self.dice.choice(["server", "wrapper", "trainer"])
        if victim == "server":
            server.kill()
            self.server = None
            self.kills.append("server")
            return
        claims = [records.read(file, Claim) for file in self.home.jobs.glob(f"*/attempts/*/{records.CLAIM}")]
        found = [claim.wrapper if victim == "wrapper" else claim.child for claim in claims if claim]
        living = [identity for identity in found if identity and look(identity) is Sight.ALIVE]
        if living:
            os.kill(self.dice.choice(living).pid, signal.SIGKILL)
            self.kills.append(victim)

    def calm(self) -> list[dict]:
        """Let everything run to its end, undisturbed; gives all jobs."""
        if self.server is not None:
            self.server.kill()
        server = self.server = Server(self.home.root, self.url, **STUB_ENVIRONMENT).ready()
        self.requests_left(server)
        end = time.monotonic() + 240
        while True:
            jobs = server.call("list")
            for job in jobs:
                if job["state"] == S.PAUSED:
                    server.call("resume", job=job["id"])
            if all(S(job["state"]) in FINAL for job in jobs):
                return jobs
            stuck = [(job["id"], job["state"], job["reason"]) for job in jobs if S(job["state"]) not in FINAL]
            assert time.monotonic() < end, f"stuck: {stuck}"
            time.sleep(0.1)

    def requests_left(self, server: Server) -> None:
        for key, job in list(self.keys.items()):
            if job is None:
                self.create(server, key)

    def check_history(self, job_id: str) -> None:
        moves = [event["data"] for event in self.server.call("events", job=job_id) if event["kind"] == "state"]
        assert moves[0]["to"] == S.QUEUED
        running = False
        for before, after in pairwise(moves):
            assert after["from"] == before["to"]
            assert is_allowed(S(after["from"]), S(after["to"]))
            assert not (running and after["to"] == S.STARTING)
            running = S(after["to"]) in OCCUPYING


def expected(folder: Path) -> dict[int, bytes]:
    """The weights of an undisturbed run of each seed."""
    platform = open_stub(folder / "undisturbed")
    try:
        data = write_data(folder)
        jobs = {seed: platform.jobs.create(stub_job(data, steps=STEPS, seed=seed)) for seed in SEEDS}
        end = time.monotonic() + 60
        while not all(platform.jobs.get(job.id).state is S.SUCCEEDED for job in jobs.values()):
            assert time.monotonic() < end
            platform.reconciler.tick()
            time.sleep(0.02)
        return {seed: weights(platform.home, job.id) for seed, job in jobs.items()}
    finally:
        platform.close()


def weights(home: Home, job_id: str) -> bytes:
    return (home.output(job_id) / "adapter" / "adapter_model.safetensors").read_bytes()


@pytest.mark.slow
def test_whatever_is_killed_nothing_is_lost(tmp_path):
    seed = int(os.environ.get("QUICKALIGN_CHAOS_SEED", random.randrange(10**6)))
    print(f"QUICKALIGN_CHAOS_SEED={seed}")
    chaos = Chaos(tmp_path, random.Random(seed))
    right = expected(tmp_path)
    for number in range(ROUNDS):
        chaos.round(number)
    jobs = chaos.calm()
    try:
        assert {job["id"] for job in jobs} == set(chaos.keys.values()), "a job was lost, or made twice"
        seeds = {job: int(key.rpartition("-")[2]) for key, job in chaos.keys.items()}
        for job in jobs:
            allowed = {S.SUCCEEDED, S.CANCELLED} if job["id"] in chaos.cancelled else {S.SUCCEEDED}
            assert S(job["state"]) in allowed, job["reason"]
            if job["state"] == S.SUCCEEDED:
                assert weights(chaos.home, job["id"]) == right[seeds[job["id"]]]
                steps = [json.loads(line)["step"] for line in (chaos.home.output(job["id"]) / "metrics.jsonl").open()]
                assert steps == list(range(1, STEPS + 1))
            chaos.check_history(job["id"])
        assert not list(chaos.home.jobs.rglob("TWO-AT-ONCE"))
        end = time.monotonic() + 10
        while live_processes(chaos.home.root) and time.monotonic() < end:
            time.sleep(0.1)
        assert live_processes(chaos.home.root) == []
    finally:
        chaos.server.stop()
    print(f"{ROUNDS} rounds, {len(jobs)} jobs, {len(chaos.kills)} kills: {', '.join(chaos.kills)}")
