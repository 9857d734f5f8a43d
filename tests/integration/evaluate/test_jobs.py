"""Evaluations and exports as jobs of a platform, with their real programs: killed, gone on with, and their results."""

import json
import os
import signal
from pathlib import Path

import pytest

from quickalign.core import paths
from quickalign.core.wire.evaluations import EvaluateRequest
from quickalign.core.wire.exports import ExportRequest
from quickalign.core.wire.jobs import EvaluationCreate, ExportCreate, JobState
from quickalign.platform.config import Config
from quickalign.platform.context import Platform
from quickalign.platform.executors import records
from quickalign.train import manifest as manifests
from tests.support.platforms import cpu, drive, drive_to

HELDOUT = str(paths.assets() / "sample" / "heldout.json")
SMALL = {"rows": 6, "prompts": 1, "kl_rows": 2, "answer_tokens": 8, "resamples": 100}


@pytest.fixture
def platform(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    opened = Platform.open(tmp_path / "platform", devices=cpu(), config=Config(retry_seconds=0.1))
    yield opened
    opened.close()


def phases(platform, job):
    return [event.data["phase"] for event in platform.jobs.events(job.id, limit=1000).items if event.kind == "phase"]


@pytest.mark.slow
def test_one_that_is_killed_goes_on_and_misses_its_limit(platform: Platform, run_folder: Path) -> None:
    spec = EvaluateRequest(model=str(run_folder), data=HELDOUT, fail_above={"perplexity": 1}, **SMALL)
    job = platform.jobs.create(EvaluationCreate(spec=spec))
    drive(platform, lambda: "score" in phases(platform, job), 120)
    claim = records.read(platform.home.attempt(job.id, 1) / records.CLAIM, records.Claim)
    assert claim is not None and claim.child is not None
    os.kill(claim.child.pid, signal.SIGKILL)
    over = drive_to(platform, job, JobState.FAILED, seconds=240)
    assert (over.attempt, over.reason.exit_code) == (2, 13)
    assert over.reason.message.startswith("The model does not keep its limits: perplexity is ")
    report = json.loads(platform.jobs.artifact(job.id, "report.json").read_bytes())
    assert over.results["figures"] == {one["name"]: one["model"]["value"] for one in report["figures"]}
    assert over.results["missed_limits"] == ["perplexity"]
    assert b"perplexity" in platform.jobs.artifact(job.id, "report.html").read_bytes()
    assert "perplexity" in platform.jobs.logs(job.id).text


@pytest.mark.slow
def test_an_export_is_copied_whole_to_where_it_was_asked_for(
    platform: Platform, run_folder: Path, tmp_path: Path
) -> None:
    spec = ExportRequest(model=str(run_folder), rows=3, prompts=1, answer_tokens=4)
    job = platform.jobs.create(ExportCreate(spec=spec, output=str(tmp_path / "mine")))
    over = drive_to(platform, job, JobState.SUCCEEDED, seconds=240)
    manifest = manifests.read(tmp_path / "mine")
    assert manifest is not None
    assert {*manifest.files, manifests.FILE} == {file.name for file in (tmp_path / "mine").iterdir()}
    assert (over.adapter_sha256, over.model_path) == (
        manifest.weights_sha256,
        str(platform.home.output(job.id) / "model"),
    )
    assert over.results["parity"]["largest_per_token"] <= over.results["parity"]["limit"]
