# ruff: noqa: T201 - the seed and the rounds are told, so that a failure can be had again
"""The contract on a Ray cluster of three nodes, the jobs of a platform that runs on it, and chaos.

QUICKALIGN_RAY_ROUNDS plays more rounds than a few, QUICKALIGN_RAY_SEED those of a run that failed.
"""

import json
import os
import random
import re
import signal
import sys
import time

import psutil
import pytest

from quickalign.core.wire.jobs import JobState
from quickalign.platform.config import Config
from quickalign.platform.context import Platform
from quickalign.platform.executors.base import Attempt, Launch, Phase
from quickalign.platform.executors.machines import find_machines
from quickalign.platform.executors.ray import RayExecutor
from quickalign.platform.executors.ray_jobs import RayJobs
from quickalign.platform.home import Home
from tests.integration.platform.executor_contract import OBEDIENT, ExecutorContract
from tests.integration.platform.test_jobs_with_processes import claim_of, step_of
from tests.integration.platform.test_real_trainer import request
from tests.support.network import network
from tests.support.platforms import drive, drive_to, open_stub, stub_job, write_data
from tests.support.ray_cluster import HASTY, TOKEN, ray_cluster
from tests.support.ray_rounds import NETWORK, VICTIMS, RayRounds
from tests.support.replicas import ENVIRONMENT

pytestmark = [pytest.mark.slow, pytest.mark.cluster]
S = JobState
ROUNDS = 4


@pytest.fixture(scope="module")
def cluster():
    with ray_cluster() as started:
        yield started


@pytest.fixture
def ray_config(cluster, tmp_path):
    """Settings of a server that uses the cluster."""
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_text(TOKEN)
    ray = {"address": cluster.url, "token_file": file}
    return Config.model_validate({"executor": "ray", "ray": ray, "retry_seconds": 0.05, "retry_seconds_max": 0.2})


class TestRayExecutor(ExecutorContract):
    @pytest.fixture(autouse=True)
    def use(self, cluster):
        self.cluster = cluster

    def make(self, home):
        return RayExecutor(home.jobs, RayJobs(self.cluster.url, TOKEN), path=os.environ.get("PYTHONPATH"))

    def test_what_has_no_room_says_so_and_starts_when_there_is(self, executor, begun):
        running = [begun(OBEDIENT, job=f"job-{letter}") for letter in "abc"]
        for attempt in running:
            self.wait(executor, attempt, Phase.RUNNING)
        waiting = begun("print('at last')", job="job-d")
        seen = executor.observe(waiting)
        assert (seen.phase, seen.message) == (Phase.PENDING, "No node of the Ray cluster has 1 CPUs free now.")
        too_large = begun("pass", job="job-e", memory_bytes=10**15)
        assert "None of the 3 nodes" in (executor.observe(too_large).message or "")
        executor.cancel(running[0], force=False)
        assert self.wait(executor, waiting, Phase.FINISHED).exit_code == 0
        executor.recover(too_large)


def test_a_platform_runs_its_jobs_there(ray_config, tmp_path):
    platform = open_stub(tmp_path / "home", config=ray_config, devices=None)
    try:
        assert [device.kind for device in platform.devices] == ["cpu"]
        data = write_data(tmp_path / "data")
        jobs = [platform.jobs.create(stub_job(data, steps=20, seed=seed)) for seed in range(5)]
        told = set()

        def over() -> bool:
            now = [platform.jobs.get(job.id) for job in jobs]
            told.update(job.reason.code for job in now if job.reason)
            return all(job.state.is_final for job in now)

        drive(platform, over, 120)
        assert [platform.jobs.get(job.id).state for job in jobs] == [S.SUCCEEDED] * 5
        assert "waiting_for_cluster" in told
        paused = platform.jobs.create(stub_job(data, steps=500))
        drive(platform, lambda: step_of(platform, paused) >= 3, 120)
        platform.jobs.pause(paused.id)
        assert "kept" in drive_to(platform, paused, S.PAUSED).reason.message
    finally:
        platform.close()


def test_the_mission_s_training_ends_with_the_same_bytes_when_it_is_killed(ray_config, tmp_path):
    rows = [{"prompt": f"What of {n}?", "chosen": f"Gladly, of {n}.", "rejected": "No."} for n in range(40)]
    data = tmp_path / "rows.json"
    data.write_text(json.dumps(rows))
    platform = Platform.open(tmp_path / "home", config=ray_config)
    try:
        whole, cut = [platform.jobs.create(request(data, max_steps=8)) for _ in range(2)]
        drive(platform, lambda: step_of(platform, cut) >= 4, 300)
        os.kill(claim_of(platform, cut).wrapper.pid, signal.SIGKILL)
        whole, cut = [drive_to(platform, job, S.SUCCEEDED, seconds=300) for job in (whole, cut)]
        assert cut.attempt == 2
        assert cut.adapter_sha256 == whole.adapter_sha256
        assert len(platform.jobs.metrics(cut.id).items) == 8
        assert "Attempt 2 starts." in {event.message for event in platform.jobs.events(cut.id, limit=1000).items}
    finally:
        platform.close()


@pytest.fixture
def cut_up():
    """A cluster whose nodes can be cut off, where this process may make networks."""
    with pytest.MonkeyPatch.context() as patch, network() as wires:
        for name, value in (ENVIRONMENT | HASTY if wires else ENVIRONMENT).items():
            patch.setenv(name, value)
        with ray_cluster(cpus=2, network=wires) as started:
            yield started


@pytest.mark.timeout(7200)
def test_chaos_of_jobs_and_a_service(cut_up, tmp_path):
    seed = int(os.environ.get("QUICKALIGN_RAY_SEED") or random.randrange(1 << 30))
    dice = random.Random(seed)
    victims = (*VICTIMS, NETWORK) if cut_up.has_wires else VICTIMS
    rounds = int(os.environ.get("QUICKALIGN_RAY_ROUNDS") or ROUNDS)
    deck = [victim for _ in range(-(-rounds // len(victims))) for victim in dice.sample(victims, len(victims))]
    print(f"QUICKALIGN_RAY_SEED={seed}", flush=True)
    chaos = RayRounds(tmp_path, cut_up, dice)
    try:
        chaos.begin()
        for number, victim in enumerate(deck[:rounds], 1):
            began = time.monotonic()
            chaos.play(victim)
            print(f"round {number}: {victim}, {time.monotonic() - began:.0f} s", flush=True)
        chaos.finish()
        assert chaos.deaths.total() == rounds
    finally:
        chaos.close()
    print(dict(chaos.deaths), flush=True)


def test_a_local_cluster_for_trying_leaves_nothing(tmp_path):
    home = Home(tmp_path / "home")
    home.make()
    others = cluster_folders()
    found = find_machines(Config.model_validate({"executor": "ray", "ray": {"address": "local"}}), home)
    try:
        attempt = Attempt("job-a", 1, "token of a local cluster")
        home.job("job-a").mkdir()
        found.jobs.submit(attempt, Launch((sys.executable, "-c", "print('here')"), home.job("job-a")))
        assert ExecutorContract.wait(found.jobs, attempt, Phase.FINISHED, seconds=120).exit_code == 0
        assert ExecutorContract.said(found.jobs, "job-a") == "here\n"
        (folder,) = cluster_folders() - others
    finally:
        found.close()
    assert not [one for one in commands() if any(folder in word for word in one)]


def cluster_folders() -> set[str]:
    """The folders of the clusters that run on this machine."""
    return set(re.findall(r"--temp-dir=(\S+)/ray", " ".join(" ".join(one) for one in commands())))


def commands() -> list[list[str]]:
    """The command lines of all processes here."""
    return [one.info["cmdline"] or [] for one in psutil.process_iter(["cmdline"])]
