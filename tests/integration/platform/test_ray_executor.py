"""The contract on a Ray cluster of three nodes, and jobs of a platform that runs on it."""

import os

import pytest

from quickalign.core.wire.jobs import JobState
from quickalign.platform.config import Config
from quickalign.platform.executors.base import Phase
from quickalign.platform.executors.ray import RayExecutor
from quickalign.platform.executors.ray_jobs import RayJobs
from tests.integration.platform.executor_contract import OBEDIENT, ExecutorContract
from tests.support.platforms import drive, drive_to, open_stub, stub_job, write_data
from tests.support.ray_cluster import TOKEN, ray_cluster

pytestmark = pytest.mark.slow
S = JobState


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
        drive_to(platform, paused, S.RUNNING)
        platform.jobs.pause(paused.id)
        assert "kept" in drive_to(platform, paused, S.PAUSED).reason.message
    finally:
        platform.close()
