# ruff: noqa: T201 - the seed and the tally are told, so that a failure can be had again
"""Everything is killed, round after round, and nothing is lost.

Each round is a card of a shuffled deck. A card is a victim (the server, a wrapper or a trainer gets SIGKILL after a random
time) or a crash point, one for each pair of statements of a transition: the process that comes there first dies there.
The deck has more than 50 cards and every crash point once; a round is over when somebody has died. Requests carry
idempotency keys, so that what a dead server did not answer can be asked again.

QUICKALIGN_CHAOS_ROUNDS plays more rounds, QUICKALIGN_CHAOS_SEED those of a run that failed.
"""

import json
import os
import random
import re
import signal
import time
from collections import Counter
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
from tests.support.crash_points import PACKAGE, PROVOKED_BY
from tests.support.platforms import live_processes, open_stub, stub_job, write_data
from tests.support.server_process import Dead, Server, Servers

VICTIMS = ("server", "wrapper", "trainer")
DECK = (*PROVOKED_BY, *VICTIMS * 8)
SEEDS = range(4)
STEPS = 40
STUB = {"QUICKALIGN_STUB_STEP_SECONDS": "0.03"}
PATIENCE = 60.0


class Chaos:
    """One home, one server at a time, and what was asked of it."""

    def __init__(self, folder: Path, dice: random.Random, url: str | None = None) -> None:
        self.folder, self.home, self.dice = folder, Home(folder / "home"), dice
        self.data = write_data(folder)
        self.home.root.mkdir()
        self.keys: dict[str, str | None] = {}
        self.cancelled, self.deleted = set[str](), set[str]()
        self.deaths = Counter[str]()
        self.servers = Servers(self.home.root, url, **STUB)
        self.server: Server | None = None

    def play(self, card: str) -> None:
        """One round, to the death of somebody."""
        print(f"{time.monotonic():.1f} {card}", flush=True)
        if card in VICTIMS:
            self.kill(card)
        else:
            self.crash(card)

    def kill(self, victim: str) -> None:
        server = self.running_server()
        end = time.monotonic() + self.dice.uniform(0, 0.8)
        while time.monotonic() < end:
            self.ask_something(server)
            time.sleep(0.1)
        if victim == "server":
            server.kill()
            self.server = None
        else:
            self.wait(lambda: self.kill_process(victim, server), victim)
        self.deaths[victim] += 1

    def crash(self, point: str) -> None:
        what = PROVOKED_BY[point]
        if what == "orphan":  # an attempt that was announced, and whose server is dead
            self.crash("local.leased")
        mark = self.folder / f"mark-{self.deaths.total()}"
        try:
            if what == "orphan":
                self.server = self.servers.start(**{crashpoints.VARIABLE: point, crashpoints.ONCE: str(mark)}).ready()
            else:
                server = self.running_server()
                server.call("crash_at", point=point, mark=str(mark))
                self.wait(lambda: mark.exists() or self.provoke(what, server), point)
        except Dead:
            assert mark.exists(), f"the server died elsewhere than at {point}"
        self.wait(lambda: mark.exists() and (point.startswith("wrapper.") or not self.server.alive), point)
        self.deaths[point] += 1

    def wait(self, happened, what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not happened():
            assert time.monotonic() < end, f"nobody died at {what}"
            time.sleep(0.05)

    def running_server(self) -> Server:
        """The server, a new one where the last is dead; it is asked again what the last did not answer."""
        while self.server is None or not self.server.alive:
            try:
                self.server = self.servers.start().ready()
                self.ask_again(self.server)
            except Dead:
                continue
        return self.server

    def ask_again(self, server: Server) -> None:
        for key in [key for key, job in self.keys.items() if job is None]:
            self.create(server, key)
        for job in self.deleted & {job["id"] for job in server.call("list")}:
            server.call("delete", job=job)

    def ask_something(self, server: Server) -> None:
        if self.dice.random() < 0.15:
            self.new_job(server)
        jobs = server.call("list")
        if jobs and self.dice.random() < 0.5:
            server.call(self.dice.choice(["pause", "resume", "resume"]), job=self.dice.choice(jobs)["id"])

    def provoke(self, what: str, server: Server) -> bool:
        """One request that brings a process to the point, or a step towards it; gives False, for it may take several."""
        jobs = [job for job in server.call("list") if job["id"] not in self.deleted]
        running = [job["id"] for job in jobs if job["state"] == S.RUNNING and self.is_good(job["id"])]
        paused = [job["id"] for job in jobs if job["state"] == S.PAUSED]
        over = [job["id"] for job in jobs if S(job["state"]) in FINAL]
        if what == "resume" and paused:
            server.call("resume", job=self.dice.choice(paused))
        elif what == "delete" and over:
            job = self.dice.choice(over)
            self.deleted.add(job)
            server.call("delete", job=job)
        elif what == "crash" and running:
            self.kill_process("trainer", server)
        elif what == "cancel" and running:
            job = self.dice.choice(running)
            self.cancelled.add(job)
            server.call("cancel", job=job)
        elif what in ("pause", "resume") and running:
            server.call("pause", job=self.dice.choice(running))
        elif sum(job["state"] in (S.QUEUED, S.STARTING, S.RUNNING) for job in jobs) < 2:
            for job in paused:
                server.call("resume", job=job)
            self.new_job(server, "bad" if what == "fail" else "good")
        return False

    def is_good(self, job_id: str) -> bool:
        return any(job == job_id and key.startswith("good") for key, job in self.keys.items())

    def new_job(self, server: Server, kind: str = "good") -> None:
        self.create(server, f"{kind}-{len(self.keys)}-{self.dice.choice(SEEDS)}")

    def create(self, server: Server, key: str) -> None:
        self.keys.setdefault(key, None)
        kind, _, seed = key.split("-")
        trouble = "fail 7" if kind == "bad" else None
        request = stub_job(self.data, steps=STEPS, seed=int(seed), trouble=trouble, max_retries=20)
        self.keys[key] = server.call("create", key=key, request=request.model_dump(mode="json"))["id"]

    def kill_process(self, victim: str, server: Server) -> bool:
        claims = [records.read(file, Claim) for file in self.home.jobs.glob(f"*/attempts/*/{records.CLAIM}")]
        found = [claim.wrapper if victim == "wrapper" else claim.child for claim in claims if claim]
        living = [identity for identity in found if identity and look(identity) is Sight.ALIVE]
        if not living:
            self.provoke("create", server)
            return False
        try:
            os.kill(self.dice.choice(living).pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def calm(self) -> list[dict]:
        """A new server, and everything runs to its end undisturbed; gives all jobs."""
        if self.server is not None:
            self.server.kill()
            self.server = None
        server = self.running_server()
        end = time.monotonic() + 240
        while True:
            jobs = server.call("list")
            for job in jobs:
                if job["state"] == S.PAUSED:
                    server.call("resume", job=job["id"])
            stuck = [(job["id"], job["state"], job["reason"]) for job in jobs if S(job["state"]) not in FINAL]
            if not stuck:
                return jobs
            assert time.monotonic() < end, f"stuck: {stuck}"
            time.sleep(0.1)

    def check(self, job: dict, right: dict[int, bytes]) -> None:
        """The job ended as it had to, step by step, with the very bytes of an undisturbed run."""
        key = next(key for key, job_id in self.keys.items() if job_id == job["id"])
        kind, _, seed = key.split("-")
        wanted = {S.FAILED} if kind == "bad" else {S.SUCCEEDED}
        if job["id"] in self.cancelled:
            wanted |= {S.CANCELLED}
        assert S(job["state"]) in wanted, job["reason"]
        if job["state"] == S.SUCCEEDED:
            assert weights(self.home, job["id"]) == right[int(seed)]
            steps = [json.loads(line)["step"] for line in (self.home.output(job["id"]) / "metrics.jsonl").open()]
            assert steps == list(range(1, STEPS + 1))
        self.check_history(job["id"])

    def check_history(self, job_id: str) -> None:
        moves = [event["data"] for event in self.server.call("events", job=job_id) if event["kind"] == "state"]
        assert moves[0]["to"] == S.QUEUED
        running = False
        for before, after in pairwise(moves):
            assert after["from"] == before["to"]
            assert is_allowed(S(after["from"]), S(after["to"]))
            assert not (running and after["to"] == S.STARTING)
            running = S(after["to"]) in OCCUPYING

    def close(self) -> None:
        if self.server is not None and self.server.alive:
            self.server.stop()
        self.servers.close()


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


def deal(dice: random.Random, rounds: int) -> list[str]:
    cards: list[str] = []
    while len(cards) < rounds:
        cards += dice.sample(DECK, len(DECK))
    return cards[:rounds]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("database_url", "rounds"), [("sqlite", len(DECK)), ("postgresql", 15)], indirect=["database_url"]
)
def test_whatever_is_killed_nothing_is_lost(tmp_path, database_url, rounds):
    rounds = int(os.environ.get("QUICKALIGN_CHAOS_ROUNDS", rounds))
    seed = int(os.environ.get("QUICKALIGN_CHAOS_SEED", random.randrange(10**6)))
    print(f"QUICKALIGN_CHAOS_SEED={seed}")
    dice = random.Random(seed)
    chaos = Chaos(tmp_path, dice, database_url)
    try:
        right = expected(tmp_path)
        for card in deal(dice, rounds):
            chaos.play(card)
        jobs = chaos.calm()
        assert {job["id"] for job in jobs} == set(chaos.keys.values()) - chaos.deleted, "a job was lost, or made twice"
        for job in jobs:
            chaos.check(job, right)
        assert not list(chaos.home.jobs.rglob("TWO-AT-ONCE"))
        assert {folder.name for folder in chaos.home.jobs.iterdir()} == {job["id"] for job in jobs}
        end = time.monotonic() + 10
        while live_processes(chaos.home.root) and time.monotonic() < end:
            time.sleep(0.1)
        assert live_processes(chaos.home.root) == []
    finally:
        chaos.close()
    print(f"{rounds} rounds, {len(chaos.keys)} jobs, {chaos.deaths.total()} deaths: {dict(chaos.deaths)}")


def test_the_deck_has_every_crash_point_of_a_job():
    files = (
        file for file in PACKAGE.glob("platform/**/*.py") if "services" not in file.parts
    )  # they have a chaos of their own
    source = "".join(file.read_text() for file in files)
    reached = set(re.findall(r'reach\(f?"([^"]+)"\)', source)) - {"file.deleted"}
    targets = {state.lower() for state in re.findall(r"self\._move\(seen, S\.([A-Z]+)", source)}
    fixed = {point for point in reached if "{" not in point}
    moves = {f"reconciler.{when}_{state}" for when in ("before", "after") for state in targets}
    words = {f"job.{word}" for word in ("paused", "resumed", "cancelled")}
    assert reached - fixed == {"reconciler.before_{to}", "reconciler.after_{to}", "job.{word}"}
    assert set(PROVOKED_BY) == fixed | moves | words
    assert len(DECK) > 50
