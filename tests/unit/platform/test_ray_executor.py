"""What the Ray executor makes of Ray's word and of the files, without any process."""

import sys

import pytest

from quickalign.platform.executors import records
from quickalign.platform.executors.base import Attempt, Launch, Observation, Phase, Recovery
from quickalign.platform.executors.ray import GONE_SECONDS, RayExecutor
from quickalign.platform.executors.records import Claim, Lease, Share
from quickalign.platform.processes import Identity
from tests.support.fake_ray import FakeRay, node

ATTEMPT = Attempt("job-a", 1, "token")
COMMAND = (sys.executable, "-m", "something")


@pytest.fixture
def ray():
    return FakeRay()


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def executor(ray, tmp_path, now):
    jobs = ray.client(clock=lambda: now[0])
    return RayExecutor(tmp_path, jobs, python="/node/python", cpus=2, path="/src", clock=lambda: now[0])


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "job-a" / "attempts" / "1"


def submit(executor, tmp_path, **launch):
    executor.submit(ATTEMPT, Launch(COMMAND, tmp_path, **launch))


def only(ray):
    (known,) = ray.jobs.values()
    return known


def claim(folder, *, place="elsewhere"):
    wrapper = Identity(pid=1 << 22, create_time=1.0, boot_id="another boot")
    records.create(folder / records.CLAIM, Claim(attempt=1, lease_token="token", wrapper=wrapper, place=place))


def test_what_ray_is_told(ray, executor, tmp_path, folder):
    submit(executor, tmp_path, memory_bytes=3_000_000_000)
    body = only(ray).body
    wrapper = "quickalign.platform.executors.wrapper"
    assert body["entrypoint"] == f"/node/python -m {wrapper} {folder} token --apart"
    assert [body[f"entrypoint_{name}"] for name in ("num_cpus", "num_gpus", "memory")] == [2.0, 0, 3_000_000_000]
    variables = body["runtime_env"]["env_vars"]
    assert variables == {"RAY_DEDUP_LOGS": "0", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": "/src"}
    lease = records.read(folder / records.LEASE, Lease)
    assert lease.command == ("/node/python", "-m", "something")
    assert lease.environment["CUDA_VISIBLE_DEVICES"] == ""
    assert not lease.yields


def test_a_job_with_a_gpu_keeps_what_ray_shows_it_and_its_memory_is_the_card_s(ray, executor, tmp_path, folder):
    submit(executor, tmp_path, gpus=1, device=0, memory_bytes=3_000_000_000)
    body = only(ray).body
    assert (body["entrypoint_num_gpus"], body["entrypoint_memory"]) == (1, 0)
    lease = records.read(folder / records.LEASE, Lease)
    assert "CUDA_VISIBLE_DEVICES" not in lease.environment
    assert lease.yields


def test_the_driver_of_several_workers_takes_no_cpu_and_no_gpu(ray, executor, tmp_path, folder):
    submit(executor, tmp_path, gpus=1, workers=4, memory_bytes=3_000_000_000)
    body = only(ray).body
    assert [body[f"entrypoint_{name}"] for name in ("num_cpus", "num_gpus", "memory")] == [0.0, 0, 512 << 20]


def test_a_head_that_is_away_costs_nothing_but_time(ray, executor, tmp_path, now):
    ray.away = True
    submit(executor, tmp_path)
    seen = executor.observe(ATTEMPT)
    assert seen.phase is Phase.PENDING
    assert "does not answer" in seen.message
    ray.away, now[0] = False, 10.0
    assert executor.observe(ATTEMPT).phase is Phase.PENDING
    assert only(ray).status == "PENDING"


def test_given_up_while_the_head_is_away(ray, executor, tmp_path):
    ray.away = True
    submit(executor, tmp_path)
    assert executor.recover(ATTEMPT) is Recovery.REQUEUE
    assert executor.observe(ATTEMPT).phase is Phase.NEVER_RAN


def test_given_up_it_is_stopped_in_ray_too(ray, executor, tmp_path):
    submit(executor, tmp_path)
    executor.recover(ATTEMPT)
    assert only(ray).status == "STOPPED"


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([node(4, 1, 8e9)], "No node of the Ray cluster has 2 CPUs and 1.0 GB of memory free now."),
        (
            [node(1), node(1)],
            "None of the 2 nodes of the Ray cluster has 2 CPUs and 1.0 GB of memory; it waits for one that has.",
        ),
    ],
)
def test_why_it_waits(ray, executor, tmp_path, nodes, said):
    ray.nodes = nodes
    submit(executor, tmp_path, memory_bytes=1_000_000_000)
    assert executor.observe(ATTEMPT) == Observation(Phase.PENDING, message=said)


def test_started_and_not_yet_claimed(ray, executor, tmp_path):
    submit(executor, tmp_path)
    only(ray).status = "RUNNING"
    assert executor.observe(ATTEMPT).phase is Phase.WAITING


@pytest.mark.parametrize("error", ["JOB_SUPERVISOR_ACTOR_START_TIMEOUT", "JOB_SUPERVISOR_ACTOR_DIED"])
def test_what_ray_lost_before_it_began_is_told_again(ray, executor, tmp_path, error):
    submit(executor, tmp_path)
    known = only(ray)
    known.status, known.error_type, known.message = "FAILED", error, "The node was lost.\nMore."
    seen = executor.observe(ATTEMPT)
    assert (seen.phase, seen.message) == (Phase.PENDING, "The Ray cluster did not start it: The node was lost.")
    assert executor.observe(ATTEMPT).phase is Phase.PENDING
    assert only(ray).status == "PENDING"


@pytest.mark.parametrize("error", ["JOB_ENTRYPOINT_COMMAND_ERROR", "RUNTIME_ENV_SETUP_FAILURE"])
def test_what_cannot_begin_there_is_a_crash_that_is_told(ray, executor, tmp_path, error):
    submit(executor, tmp_path)
    known = only(ray)
    known.status, known.error_type, known.message = "FAILED", error, "no such file: /node/python"
    assert executor.observe(ATTEMPT) == Observation(Phase.FINISHED, exit_code=70, message=known.message)
    assert executor.recover(ATTEMPT) is Recovery.REQUEUE


@pytest.mark.parametrize("status", ["STOPPED", "SUCCEEDED"])
def test_stopped_by_somebody_else_before_it_began(ray, executor, tmp_path, status):
    submit(executor, tmp_path)
    only(ray).status = status
    assert executor.observe(ATTEMPT).phase is Phase.NEVER_RAN


def test_a_heartbeat_elsewhere_that_moves_is_life_and_one_that_stands_still_is_its_end(
    ray, executor, tmp_path, folder, now
):
    submit(executor, tmp_path)
    claim(folder)
    beat = folder / records.HEARTBEAT
    beat.touch()
    assert executor.observe(ATTEMPT).phase is Phase.RUNNING
    now[0] = GONE_SECONDS - 1
    assert executor.observe(ATTEMPT) == Observation(Phase.RUNNING, silent_seconds=GONE_SECONDS - 1)
    beat.touch()
    now[0] = 2 * GONE_SECONDS
    assert executor.observe(ATTEMPT).phase is Phase.RUNNING
    now[0] = 3 * GONE_SECONDS + 1
    assert executor.observe(ATTEMPT).phase is Phase.VANISHED
    assert executor.processes(ATTEMPT) == ()
    assert executor.observe(ATTEMPT).phase is Phase.VANISHED
    assert (folder / records.KILL).exists()  # should its wrapper come back, it must not go on


def test_a_disk_that_does_not_answer_decides_nothing(ray, executor, tmp_path, folder, now, monkeypatch):
    submit(executor, tmp_path)
    claim(folder)

    def broken(file):
        raise OSError("stale file handle")

    monkeypatch.setattr("quickalign.platform.executors.pulse._stamp", broken)
    now[0] = 1000.0
    assert executor.observe(ATTEMPT).phase is Phase.UNKNOWN


def test_what_runs_elsewhere_is_asked_by_files(ray, executor, tmp_path, folder):
    submit(executor, tmp_path)
    executor.cancel(ATTEMPT, force=False)
    assert not (folder / records.STOP).exists()  # nobody has begun it
    claim(folder)
    executor.cancel(ATTEMPT, force=False)
    assert (folder / records.STOP).exists()
    executor.cancel(ATTEMPT, force=True)
    assert (folder / records.KILL).exists()


def test_processes_elsewhere_are_named_while_they_beat(ray, executor, tmp_path, folder, now):
    submit(executor, tmp_path)
    assert executor.processes(ATTEMPT) == ()
    claim(folder)
    assert [one.boot_id for one in executor.processes(ATTEMPT)] == ["another boot"]
    now[0] = GONE_SECONDS + 1
    assert executor.processes(ATTEMPT) == ()


def test_what_is_over_is_forgotten_by_ray_too(ray, executor, tmp_path, now):
    submit(executor, tmp_path)
    only(ray).status = "STOPPED"
    executor.observe(ATTEMPT)
    now[0] = 100.0
    executor.submit(Attempt("job-b", 1, "token"), Launch(COMMAND, tmp_path))
    assert len(ray.forgotten) == 1
    assert len(ray.jobs) == 1


def test_shares_of_records_are_read_back(folder):
    folder.mkdir(parents=True)
    lease = Lease(job="a", attempt=1, lease_token="t", command=("c",), folder="/", share=Share(cpus=1.5, gpus=2))
    records.replace(folder / records.LEASE, lease)
    assert records.read(folder / records.LEASE, Lease) == lease
