"""Jobs with real processes and the stub trainer: across servers, crashes, pauses, deadlines."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from quickalign.core.wire.jobs import JobState as S
from quickalign.platform.executors import records
from quickalign.platform.executors.records import Claim
from quickalign.platform.processes import Sight, look
from tests.support.platforms import (
    FAST,
    cpu,
    drive,
    drive_to,
    live_processes,
    open_stub,
    stub_job,
    write_data,
)


@pytest.fixture
def data(tmp_path):
    return write_data(tmp_path)


@pytest.fixture
def platform(tmp_path, database_url):
    opened = open_stub(tmp_path / "home", devices=cpu(2), database_url=database_url)
    yield opened
    end_all(opened)
    opened.close()
    assert live_processes(tmp_path / "home") == []


def end_all(platform):
    for job in platform.jobs.list(limit=1000).items:
        if not job.state.is_final:
            platform.jobs.cancel(job.id)
    drive(platform, lambda: all(job.state.is_final for job in platform.jobs.list(limit=1000).items))
    drive(platform, lambda: not live_processes(platform.home.root), 10)


def step_of(platform, job):
    progress = platform.jobs.get(job.id).progress
    return progress.step if progress else 0


def claim_of(platform, job):
    attempt = platform.jobs.get(job.id).attempt
    return records.read(platform.home.attempt(job.id, attempt) / records.CLAIM, Claim)


def weights(platform, job):
    return platform.jobs.artifact(job.id, "adapter/adapter_model.safetensors").read_bytes()


def test_a_job_from_its_beginning_to_its_end(platform, data, tmp_path):
    job = platform.jobs.create(stub_job(data, output=str(tmp_path / "results")))
    job = drive_to(platform, job, S.SUCCEEDED)
    assert job.adapter_sha256
    assert (tmp_path / "results" / "adapter" / "adapter_model.safetensors").read_bytes() == weights(platform, job)
    kinds = [event.kind for event in platform.jobs.events(job.id).items]
    assert kinds == ["state"] * 3 + ["phase"] + ["checkpoint"] * 3 + ["done", "state"]
    assert platform.jobs.logs(job.id).text.endswith("step 6/6\n")
    assert [line["step"] for line in platform.jobs.metrics(job.id).items] == [1, 2, 3, 4, 5, 6]
    assert [checkpoint.step for checkpoint in platform.jobs.checkpoints(job.id)] == [2, 4, 6]
    assert job.progress.step == 6


def test_a_pause_costs_nothing_of_the_result(platform, data):
    whole = platform.jobs.create(stub_job(data, steps=60))
    cut = platform.jobs.create(stub_job(data, steps=60))
    drive(platform, lambda: step_of(platform, cut) >= 3)
    platform.jobs.pause(cut.id)
    paused = drive_to(platform, cut, S.PAUSED)
    assert "checkpoint of step" in paused.reason.message
    platform.jobs.resume(cut.id)
    drive_to(platform, cut, S.SUCCEEDED)
    drive_to(platform, whole, S.SUCCEEDED)
    assert weights(platform, cut) == weights(platform, whole)
    assert platform.jobs.get(cut.id).attempt == 2
    text = platform.jobs.logs(cut.id).text
    assert text.index("going on from step 0") < text.index("going on from step", 30)


def test_a_cancelled_job_leaves_a_checkpoint_to_clone_from(platform, data):
    job = platform.jobs.create(stub_job(data, steps=1000))
    drive(platform, lambda: step_of(platform, job) >= 3)
    platform.jobs.cancel(job.id)
    drive_to(platform, job, S.CANCELLED)
    assert platform.jobs.checkpoints(job.id)[-1].step >= 3


def test_running_jobs_are_found_again_and_finished_ones_collected(tmp_path, data):
    first = open_stub(tmp_path / "home", devices=cpu(2))
    short, long = first.jobs.create(stub_job(data, steps=4)), first.jobs.create(stub_job(data, steps=150))
    drive(first, lambda: step_of(first, short) > 0 and step_of(first, long) > 0)
    trainer = claim_of(first, long).child
    first.close()
    end = time.monotonic() + 30
    while not (first.home.attempt(short.id, 1) / records.EXIT).exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    second = open_stub(tmp_path / "home", devices=cpu(2))
    try:
        second.reconciler.tick()
        assert second.jobs.get(short.id).state is S.SUCCEEDED
        assert second.jobs.get(long.id).state is S.RUNNING
        assert look(trainer) is Sight.ALIVE
        assert drive_to(second, long, S.SUCCEEDED).attempt == 1
    finally:
        end_all(second)
        second.close()


@pytest.mark.parametrize("victim", ["wrapper", "child"])
def test_a_killed_process_is_a_crash_and_the_job_goes_on(platform, data, victim):
    whole = platform.jobs.create(stub_job(data, steps=40))
    job = platform.jobs.create(stub_job(data, steps=40))
    drive(platform, lambda: step_of(platform, job) >= 4)
    os.kill(getattr(claim_of(platform, job), victim).pid, signal.SIGKILL)
    drive_to(platform, job, S.SUCCEEDED)
    drive_to(platform, whole, S.SUCCEEDED)
    assert platform.jobs.get(job.id).attempt == 2
    crash = next(event for event in platform.jobs.events(job.id).items if event.data.get("reason") == "crashed")
    assert "goes on from step" in crash.message
    assert weights(platform, job) == weights(platform, whole)


def test_a_failure_is_told_whole_and_not_tried_again(platform, data):
    job = platform.jobs.create(stub_job(data, trouble="fail 3"))
    job = drive_to(platform, job, S.FAILED)
    assert (job.reason.code, job.reason.exit_code, job.attempt) == ("failed", 7, 1)
    assert job.reason.message == "The loss is not a number. Lower learning_rate."


def test_crashes_without_progress_are_bounded(platform, data):
    job = platform.jobs.create(stub_job(data, trouble="crash 3", max_retries=2))
    job = drive_to(platform, job, S.FAILED)
    assert (job.reason.code, job.attempt) == ("crashed", 3)
    assert "SIGKILL" in job.reason.message


def test_what_ignores_the_request_is_killed_after_the_deadline(tmp_path, data):
    platform = open_stub(tmp_path / "home", config=FAST.model_copy(update={"stop_seconds": 0.5}))
    try:
        job = platform.jobs.create(stub_job(data, steps=50, trouble="hang 3"))
        drive(platform, lambda: step_of(platform, job) >= 3)
        platform.jobs.pause(job.id)
        assert "step 2" in drive_to(platform, job, S.PAUSED).reason.message
        assert live_processes(platform.home.root) == []
    finally:
        end_all(platform)
        platform.close()


def test_results_that_cannot_be_copied_fail_the_job_and_stay_here(platform, data, tmp_path):
    job = platform.jobs.create(stub_job(data, output=str(tmp_path / "blocked" / "inside")))
    (tmp_path / "blocked").write_text("")
    job = drive_to(platform, job, S.FAILED)
    assert "cannot be copied" in job.reason.message
    assert weights(platform, job)
    (tmp_path / "blocked").unlink()
    platform.jobs.resume(job.id)
    job = drive_to(platform, job, S.SUCCEEDED)
    assert (tmp_path / "blocked" / "inside" / "result.json").exists()


def test_a_deleted_job_leaves_nothing(platform, data):
    job = drive_to(platform, platform.jobs.create(stub_job(data)), S.SUCCEEDED)
    platform.jobs.delete(job.id)
    assert not platform.home.job(job.id).exists()
    assert list(platform.home.trash.iterdir()) == []
    assert list(platform.home.blobs.rglob("?" * 64)) == []


def test_the_thread_does_it_all_by_itself(platform, data):
    platform.reconciler.start()
    began = time.monotonic()
    job = platform.jobs.create(stub_job(data, steps=3))
    while platform.jobs.get(job.id).state is not S.SUCCEEDED:
        assert time.monotonic() - began < 30
        time.sleep(0.02)
    assert platform.reconciler.is_running
    platform.reconciler.stop()
    assert not platform.reconciler.is_running


def test_the_specification_reproduces_the_run(platform, data):
    job = drive_to(platform, platform.jobs.create(stub_job(data)), S.SUCCEEDED)
    spec = json.loads((platform.home.job(job.id) / "spec.json").read_text())
    assert spec["output"] == str(platform.home.output(job.id))
    assert spec["hyperparameters"] == job.spec.hyperparameters
    assert Path(spec["train"]).read_text() == data.read_text()
