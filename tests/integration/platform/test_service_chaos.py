# ruff: noqa: T201 - the seed is told, so that a failure can be had again
"""Servers and replicas of services are killed at random moments; services come back, and deleted ones leave nothing.

QUICKALIGN_SERVICE_CHAOS_ROUNDS says how many rounds. Each round a server, which may die at a crash point between two
statements, is asked for services, updates and deletions, and then it or a replica gets SIGKILL.
"""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from quickalign.core.wire.services import ServiceState as S
from quickalign.platform import crashpoints
from tests.support.homes import wait_until
from tests.support.service_rounds import end_all, processes_of, stub_service
from tests.support.single_server import Dead, Server

ROUNDS = int(os.environ.get("QUICKALIGN_SERVICE_CHAOS_ROUNDS", "8"))
POINTS = (
    *(f"service.{name}" for name in ("create.frozen", "create.done", "updated", "deleting")),
    *(f"services.{name}" for name in ("announced", "started", "ready_seen", "ready_said", "crash_seen", "crash_said")),
    *(f"services.{name}" for name in ("planned", "signalled", "replica_gone", "replica_forgotten", "folder_gone")),
    *("services.deleted", "local.leased", "local.spawned", "local.revoked"),
    *(f"services.{when}_{state}" for when in ("before", "after") for state in (S.STARTING, S.RUNNING, S.DELETED)),
)
LIVING = 4


class Chaos:
    """One home, one server at a time, and what was asked of it."""

    def __init__(self, folder: Path, dice: random.Random) -> None:
        self.folder, self.home, self.dice = folder, folder / "home", dice
        self.home.mkdir()
        self.asked: dict[str, bool] = {}
        self.deleted: set[str] = set()
        self.kills: list[str] = []
        self.server: Server | None = None

    def round(self, number: int) -> None:
        point = self.dice.choice(POINTS) if self.dice.random() < 0.6 else None
        try:
            server = self.start(number, point)
            self.requests(server, number)
            end = time.monotonic() + self.dice.uniform(0, 2.0)
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
        environment = {}
        if point is not None:
            environment = {crashpoints.VARIABLE: point, crashpoints.ONCE: str(self.folder / f"crash-{number}")}
        self.server = Server(self.home, module="tests.support.service_server", **environment)
        return self.server.ready()

    def requests(self, server: Server, number: int) -> None:
        self.asked.setdefault(f"service-{number}", False)
        for name, answered in list(self.asked.items()):
            if not answered:
                request = stub_service(self.home, name, replicas=self.dice.randint(1, 2)).model_dump(mode="json")
                self.asked[name] = (
                    server.call("create", key=f"{name}-{request['replicas']}", request=request) is not None
                )
                # a service of that name that an unanswered request made counts as well
                self.asked[name] |= any(one["name"] == name for one in server.call("list"))
        living = [name for name in self.asked if name not in self.deleted]
        if living and self.dice.random() < 0.5:
            spec = stub_service(self.home, "x").spec.model_copy(update={"context": 64 + number})
            server.call("update", name=self.dice.choice(living), request={"spec": spec.model_dump(mode="json")})
        while len(living) > LIVING:
            name = living.pop(self.dice.randrange(len(living)))
            self.deleted.add(name)
            server.call("delete", name=name)

    def kill_somebody(self, server: Server) -> None:
        replicas = [pid for pid in processes_of(self.home) if pid != server.process.pid]
        if self.dice.random() < 0.4 or not replicas:
            server.kill()
            self.kills.append("server")
        else:
            self.kills.append("replica")
            pid = self.dice.choice(replicas)
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                return

    def calm(self, seconds: float = 240) -> list[dict]:
        """No more kills: until every service that was not deleted answers, and the others are gone."""
        server = self.start(-1, "none at all")
        end = time.monotonic() + seconds
        for name in self.deleted:
            server.call("delete", name=name)
        while True:
            services = server.call("list")
            # Right after the last kill, the server may not have seen yet who is dead.
            alive = pids_of(services) <= set(processes_of(self.home))
            if alive and all(one["state"] in (S.RUNNING, S.DELETED) and not trouble(one) for one in services):
                return services
            stuck = [(one["name"], one["state"], one["reason"], one["replicas"]) for one in services if trouble(one)]
            assert time.monotonic() < end, f"stuck: {stuck}"
            time.sleep(0.1)


def pids_of(services: list[dict]) -> set[int]:
    """The processes of their replicas."""
    return {replica["pid"] for one in services for replica in one["replicas"] if one["state"] == S.RUNNING}


def trouble(service: dict) -> bool:
    """Whether its replicas are not what is wanted."""
    if service["state"] == S.DELETED:
        return False
    ready = [one for one in service["replicas"] if one["state"] == "ready" and one["revision"] == service["target"]]
    return not (len(service["replicas"]) == len(ready) == service["wanted_replicas"])


@pytest.mark.slow
def test_whatever_is_killed_services_come_back_and_leave_nothing(tmp_path):
    seed = int(os.environ.get("QUICKALIGN_CHAOS_SEED", random.randrange(10**6)))
    print(f"QUICKALIGN_CHAOS_SEED={seed}")
    chaos = Chaos(tmp_path, random.Random(seed))
    try:
        for number in range(ROUNDS):
            chaos.round(number)
        services = chaos.calm()
        living = {one["name"]: one for one in services if one["state"] == S.RUNNING}
        assert living.keys() == chaos.asked.keys() - chaos.deleted, "a service was lost, or came back"
        pids = pids_of(services)
        # each replica is its own process and its wrapper, and nobody else stays: a wrapper whose lease was revoked ends itself
        wait_until(lambda: len(processes_of(chaos.home)) - 1 == 2 * len(pids))
        for name in living:
            chaos.server.call("delete", name=name)
        left = chaos.calm()
        assert all(one["removal"] for one in left)
        wait_until(lambda: processes_of(chaos.home) == [chaos.server.process.pid])
        assert list((chaos.home / "services").iterdir()) == list((chaos.home / "trash").iterdir()) == []
        chaos.server.stop()
    finally:
        end_all(chaos.home)
    print(f"{ROUNDS} rounds, {len(services)} services, {len(chaos.kills)} kills: {', '.join(chaos.kills)}")
