"""The real trainer under the platform: a pause and a kill change not one byte of what comes out."""

import json
import os
import signal

import pytest

from quickalign.core.wire.jobs import EstimateRequest, JobCreate, JobState, TrainRequest
from quickalign.platform.config import Config
from quickalign.platform.context import Platform
from tests.integration.platform.test_jobs_with_processes import claim_of, end_all, step_of
from tests.support.platforms import cpu, drive, drive_to

OPTIONS = {
    "training_strategy": "dpo",
    "load_in_4bit": False,
    "precision": "fp32",
    "lora_dim": 4,
    "lora_dropout": 0.05,
    "gradient_accumulation_steps": 2,
    "save_steps": 3,
    "max_steps": 30,
    "learning_rate": 1e-3,
    "validation_split": 0.2,
}


@pytest.fixture
def platform(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    opened = Platform.open(tmp_path / "home", devices=cpu(), config=Config(retry_seconds=0.1))
    yield opened
    end_all(opened)
    opened.close()


@pytest.fixture
def data(tmp_path):
    rows = [
        {"prompt": f"May I ask about thing {n}?", "chosen": f"Of course, thing {n}.", "rejected": "No."}
        for n in range(80)
    ]
    file = tmp_path / "rows.json"
    file.write_text(json.dumps(rows))
    return file


def request(data, **options):
    spec = TrainRequest(
        model="qwen2-tiny-instruct", train=str(data), hyperparameters=OPTIONS | options, sample_tokens=0
    )
    return JobCreate(spec=spec)


@pytest.mark.slow
def test_paused_and_killed_it_ends_with_the_same_bytes(platform, data):
    whole, cut = platform.jobs.create(request(data)), platform.jobs.create(request(data))
    whole = drive_to(platform, whole, JobState.SUCCEEDED, seconds=240)
    drive(platform, lambda: step_of(platform, cut) >= 4, 120)
    platform.jobs.pause(cut.id)
    drive_to(platform, cut, JobState.PAUSED, seconds=120)
    paused_at = step_of(platform, cut)
    assert paused_at < OPTIONS["max_steps"] - 5, "no steps are left to be killed in"
    platform.jobs.resume(cut.id)
    drive(platform, lambda: step_of(platform, cut) > paused_at + 1 and platform.jobs.get(cut.id).attempt == 2, 120)
    os.kill(claim_of(platform, cut).wrapper.pid, signal.SIGKILL)
    cut = drive_to(platform, cut, JobState.SUCCEEDED, seconds=240)
    assert cut.attempt == 3
    assert cut.adapter_sha256 == whole.adapter_sha256
    losses = [[line["loss"] for line in platform.jobs.metrics(job.id).items] for job in (whole, cut)]
    assert losses[0] == losses[1]
    assert len(losses[0]) == OPTIONS["max_steps"]
    kinds = {event.kind for event in platform.jobs.events(cut.id, limit=1000).items}
    assert {"state", "phase", "data", "plan", "checkpoint", "evaluation", "done"} <= kinds
    assert platform.jobs.artifact(cut.id, "report.html").stat().st_size > 1000
    assert platform.jobs.metrics(cut.id, kind="evaluations").items
    progress, steps = cut.progress, OPTIONS["max_steps"]
    assert (progress.step, progress.total_steps, progress.seconds_left) == (steps, steps, 0.0)


@pytest.mark.slow
def test_a_refused_run_says_why_in_full(platform, data):
    rows = json.loads(data.read_text())
    rows[3]["chosen"] = 7
    data.write_text(json.dumps(rows))
    job = drive_to(platform, platform.jobs.create(request(data)), JobState.FAILED, seconds=120)
    assert job.reason.exit_code == 3
    assert "row 4" in job.reason.message
    assert "--bad-rows drop" in job.reason.message


@pytest.mark.slow
def test_an_estimate_is_the_planners(platform, data):
    estimate = platform.estimate(EstimateRequest(spec=request(data).spec))
    assert estimate.plan["steps"] == OPTIONS["max_steps"]
    assert estimate.plan["fits"]
    assert estimate.resources.memory_bytes == estimate.plan["predicted_peak_bytes"]
    assert estimate.report["rows"] == 80


@pytest.mark.slow
def test_a_data_report_counts_tokens(platform, data):
    with platform.files.begin("rows.json") as upload:
        upload.write(data.read_bytes())
        stored = upload.commit()
    report = platform.files.report(stored.id, model="qwen2-tiny-instruct", options={"seq_length": 64})
    assert (report["uri"], report["rows"]) == ("rows.json", 80)
    assert report["tokens"]["truncation"]["seq_length"] == 64
    assert platform.files.report(stored.id)["tokens"] is None
