"""Jobs and a service on a Ray cluster of which something is killed or cut off, round after round."""

import contextlib
import hashlib
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from quickalign.core.wire.jobs import JobState
from quickalign.platform.executors import records
from quickalign.platform.executors.records import Claim
from quickalign.platform.home import Home
from quickalign.platform.processes import Identity, Sight, look
from tests.support.platforms import live_processes, stub_job, write_data
from tests.support.ray_cluster import TOKEN, RayCluster
from tests.support.ray_service import RayService
from tests.support.server_process import Dead, Server, Servers

VICTIMS = ("wrapper", "trainer", "server", "node", "head", "replica")
NETWORK = "network"
"""A victim only where the nodes have networks of their own."""
STEPS = 300
_PATIENCE = 300.0


class RayRounds:
    """One home, one server at a time, three jobs that are always under way, and a service that answers."""

    def __init__(self, folder: Path, cluster: RayCluster, dice: random.Random) -> None:
        self.folder, self.home, self.cluster, self.dice = folder, Home(folder / "home"), cluster, dice
        self.data = write_data(folder)
        self.home.root.mkdir()
        token = folder / "token"
        token.touch(0o600)
        token.write_text(TOKEN)
        ray = {"address": cluster.url, "token_file": str(token)}
        config = {"executor": "ray", "ray": ray, "retry_seconds": 0.1, "retry_seconds_max": 0.5, "start_seconds": 60}
        config |= {"service_start_seconds": 240, "service_retries": 50}
        self.servers = Servers(self.home.root, config=config)
        self.server: Server | None = None
        self.keys: list[str] = []
        self.deaths = Counter[str]()
        self.service = RayService(self.call)

    def begin(self) -> None:
        """Bring the service up."""
        self.service.create()
        self.wait(self.service.answers, "the service does not start")

    def play(self, victim: str) -> None:
        """One round: some jobs run, and the victim is killed at a random moment of them. The service answers again."""
        self.keep_busy()
        self.wait(lambda: len(self.running()) > 0, "no job runs")
        time.sleep(self.dice.uniform(0, 1.5))
        getattr(self, f"_kill_{victim}")()
        self.deaths[victim] += 1
        self.wait(self.service.answers, f"the service does not answer after the loss of a {victim}")

    def keep_busy(self) -> None:
        """Three jobs that are not over."""
        lacking = 3 - sum(not JobState(job["state"]).is_final for job in self.jobs())
        for _ in range(lacking):
            key = f"key-{len(self.keys)}"
            self.keys.append(key)
            request = stub_job(self.data, steps=STEPS, seed=len(self.keys), max_retries=20)
            self.call("create", key=key, request=request.model_dump(mode="json"))

    def finish(self) -> None:
        """Wait until every job is over, and check what is left of each: the right bytes, and nothing else.

        The service is deleted, and nothing is left of it.
        """
        self.service.delete()
        self.wait(lambda: all(JobState(job["state"]).is_final for job in self.jobs()), "not all jobs end")
        jobs = self.jobs()
        assert Counter(job["state"] for job in jobs) == {"succeeded": len(self.keys)}, [job["reason"] for job in jobs]
        for job in jobs:
            output = self.home.output(job["id"])
            weights = output / "adapter" / "adapter_model.safetensors"
            seed = job["spec"]["hyperparameters"]["seed"]
            assert weights.read_text() == expected(self.data, seed), f"{job['id']} has other bytes"
            assert not (output / "TWO-AT-ONCE").exists(), f"{job['id']} ran twice at once"
        self.wait(self.service.is_gone, "the service is not gone")
        self.wait(lambda: not live_processes(self.home.root), "processes are left")

    def close(self) -> None:
        """End what is left."""
        for job in self.running():
            self._signal(self.claim(job), "wrapper")
        if self.server is not None and self.server.alive:
            self.server.kill()
        self.servers.close()

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs, as the server tells."""
        found: list[dict[str, Any]] = self.call("list")
        return found

    def running(self) -> list[str]:
        """Jobs whose command is there now."""
        found = []
        for folder in self.home.jobs.glob("job-*"):
            claim = self.claim(folder.name)
            if claim and claim.child and look(claim.child) is Sight.ALIVE:
                found.append(folder.name)
        return found

    def claim(self, job: str) -> Claim | None:
        """The claim of the job's last attempt."""
        attempts = sorted((self.home.job(job) / "attempts").glob("[0-9]*"), key=lambda folder: int(folder.name))
        return records.read(attempts[-1] / records.CLAIM, Claim) if attempts else None

    def call(self, call: str, **request: Any) -> Any:
        """Ask the server, a new one where it is dead."""
        while True:
            with contextlib.suppress(Dead):
                if self.server is None or not self.server.alive:
                    self.server = self.servers.start().ready()
                return self.server.call(call, **request)

    def wait(self, happened: Callable[[], bool], otherwise: str) -> None:
        """Until it is so."""
        end = time.monotonic() + _PATIENCE
        while not happened():
            told = [*self.service.tell(), *self.jobs()] if time.monotonic() > end else None
            assert told is None, f"{otherwise}: {json.dumps(told, indent=1)[:6000]}"
            time.sleep(0.3)

    def _kill_wrapper(self) -> None:
        self._signal(self.claim(self.dice.choice(self.running() or [""])), "wrapper")

    def _kill_trainer(self) -> None:
        self._signal(self.claim(self.dice.choice(self.running() or [""])), "child")

    def _kill_server(self) -> None:
        self.call("list")
        assert self.server is not None
        self.server.kill()
        self.server = None

    def _kill_node(self) -> None:
        self.cluster.kill_node(self.dice.choice(self.cluster.nodes))
        self.cluster.add_node()

    def _kill_network(self) -> None:
        seconds = self.dice.choice((3.0, 45.0))  # shorter and longer than the head waits for a silent node
        self.cluster.cut_node(self.dice.choice(self.cluster.nodes), seconds)

    def _kill_replica(self) -> None:
        for replica in self.service.replicas()[:1]:
            with contextlib.suppress(psutil.Error):
                replica.kill()

    def _kill_head(self) -> None:
        self.cluster.kill_head(with_its_work=self.dice.random() < 0.5)
        time.sleep(self.dice.uniform(0, 2))
        self.cluster.start_head()
        self.cluster.replace_lost_nodes()

    def _signal(self, claim: Claim | None, who: str) -> None:
        one: Identity | None = getattr(claim, who, None)
        if one is not None and look(one) is Sight.ALIVE:
            os.kill(one.pid, signal.SIGKILL)


def expected(data: Path, seed: int) -> str:
    """What the stub trainer leaves of so many steps, however often it was stopped."""
    state, digest = hashlib.sha256(b"base").hexdigest(), hashlib.sha256(data.read_bytes()).hexdigest()
    for step in range(STEPS):
        state = hashlib.sha256(f"{state} {digest} {seed} {step}".encode()).hexdigest()
    return state
