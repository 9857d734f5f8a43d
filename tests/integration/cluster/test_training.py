"""Workers of a Ray cluster train as one process does, in pieces as well, and a lost one does not change a byte."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from quickalign.core.spec import RunSpec
from quickalign.core.wire.jobs import JobCreate, JobState, TrainRequest
from quickalign.platform.config import Config
from quickalign.train.manifest import weights_sha256
from quickalign.train.metrics import read_steps
from scripts.make_random_model import make_random_model
from tests.support.platforms import drive_to, open_stub
from tests.support.ray_cluster import TOKEN, ray_cluster
from tests.support.specs import make_spec, run_spec

ROOT = Path(__file__).resolve().parents[3]
COMPARED = ("loss", "grad_norm", "rewards_chosen", "rewards_rejected", "logps_chosen", "logps_rejected")
OPTIONS = {"max_steps": 24, "save_steps": 4, "num_train_epochs": 10, "sample_tokens": 0}
ROWS_PER_STEP = 8

pytestmark = [pytest.mark.slow, pytest.mark.cluster]


@pytest.fixture(scope="module")
def cluster():
    with ray_cluster(2) as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(autouse=True)
def home(folder, monkeypatch):
    monkeypatch.setenv("QUICKALIGN_HOME", str(folder / "home"))


def spec_for(folder: Path, name: str, workers: int, *, strategy: str = "ddp", **options: object) -> RunSpec:
    """The same optimiser batches, whoever computes them."""
    rows = ROWS_PER_STEP // workers
    spec = make_spec(folder, name, gradient_accumulation_steps=rows, **{**OPTIONS, **options})
    return spec.model_copy(update={"strategy": strategy})


@pytest.fixture(scope="module")
def one(folder):
    """The run in one process."""
    os.environ["QUICKALIGN_HOME"] = str(folder / "home")
    return run_spec(spec_for(folder, "one", 1))[0].output


class Driven:
    """A driver's process; `lines` are what it has said so far."""

    def __init__(self, cluster, spec: RunSpec, workers: int) -> None:
        folder = spec.output.with_name(f"{spec.output.name}-job")
        folder.mkdir()
        (folder / "spec.json").write_text(spec.model_dump_json())
        command = [sys.executable, "-m", "quickalign.cluster.train", str(folder / "spec.json"), "--cpus", "0.5"]
        command += ["--workers", str(workers), "--address", cluster.address]
        places = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
        self._errors = (folder / "errors.log").open("w+")
        self.process = subprocess.Popen(
            command,
            env=os.environ | {"PYTHONPATH": places},
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self.lines: list[str] = []

    def until(self, words: str) -> None:
        for line in self.process.stdout:
            self.lines.append(line)
            if words in line:
                return
        raise AssertionError(self.said())

    def end(self) -> int:
        self.lines += self.process.stdout
        return self.process.wait(60)

    def said(self) -> str:
        self._errors.seek(0)
        return "".join(self.lines)[-1500:] + self._errors.read()[-3000:]


def drive(cluster, spec: RunSpec, workers: int) -> Path:
    driven = Driven(cluster, spec, workers)
    assert driven.end() == 0, driven.said()
    return spec.output


def assert_same_steps(found: Path, expected: Path, tolerance: float, beside_loss: float | None = None) -> None:
    """Losses agree within `tolerance`, all else within `beside_loss`; both are relative above 1 and absolute below."""
    steps, others = read_steps(expected), read_steps(found)
    assert len(others) == len(steps) > 1
    for one, other in zip(steps, others, strict=True):
        for name in COMPARED:
            allowed = tolerance if name == "loss" else beside_loss or tolerance
            assert getattr(other, name) == pytest.approx(getattr(one, name), rel=allowed, abs=allowed), (
                one.step,
                name,
            )


@pytest.fixture(scope="module")
def two(cluster, folder, one):
    """The run on two workers, undisturbed: a job of a server whose jobs run on the cluster."""
    spec = spec_for(folder, "two", 2)
    same = spec.model_dump(include={"model", "train", "sample_tokens", "closing_rows"})
    options = spec.hyperparameters.model_dump(exclude_unset=True)
    token = folder / "token"
    token.touch(0o600)
    token.write_text(TOKEN)
    ray = {"address": cluster.url, "token_file": token, "cpus": 0.5}
    config = Config.model_validate({"executor": "ray", "ray": ray, "start_seconds": 600})
    platform = open_stub(folder / "server", config=config, devices=None)
    try:
        request = JobCreate(spec=TrainRequest(**same, hyperparameters=options), workers=2)
        job = drive_to(platform, platform.jobs.create(request), JobState.SUCCEEDED, seconds=300)
        assert job.resources.workers == 2
        events = {event.kind for event in platform.jobs.events(job.id).items}
        assert {"checkpoint", "plan", "done"} <= events
        return platform.home.output(job.id)
    finally:
        platform.close()


def test_two_workers_equal_one_process(one, two):
    assert_same_steps(two, one, 1e-5)


@pytest.mark.parametrize(("workers", "strategy", "tolerance"), [(4, "ddp", 1e-5), (2, "fsdp2", 1e-4)])
def test_workers_equal_one_process(cluster, folder, one, workers, strategy, tolerance):
    spec = spec_for(folder, f"{workers}-{strategy}", workers, strategy=strategy)
    assert_same_steps(drive(cluster, spec, workers), one, tolerance)


def workers_of(cluster) -> list[psutil.Process]:
    nodes = cluster._cluster.list_all_nodes()
    pids = [info.process.pid for node in nodes for infos in node.all_processes.values() for info in infos]
    below = {child for pid in pids if psutil.pid_exists(pid) for child in psutil.Process(pid).children(recursive=True)}
    return [process for process in below if "RayTrainWorker" in " ".join(_words_of(process))]


def _words_of(process: psutil.Process) -> list[str]:
    """Its command line; none of one that has just ended."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def test_a_killed_worker_changes_no_byte_and_a_stopped_run_goes_on(cluster, folder, two):
    spec = spec_for(folder, "disturbed", 2)
    driven = Driven(cluster, spec, 2)
    driven.until("saved step 8")
    workers = workers_of(cluster)
    assert len(workers) == 2
    workers[0].send_signal(signal.SIGKILL)
    driven.until("Workers were lost; this is start 2")
    driven.until("saved step 12")
    driven.process.send_signal(signal.SIGTERM)
    assert driven.end() == 130, driven.said()
    assert "Stopped after step" in driven.said()
    assert json.loads((spec.output / "error.json").read_text())["exit_code"] == 130
    shutil.rmtree(spec.output.with_name("disturbed-job"))
    drive(cluster, spec, 2)
    assert weights_sha256(spec.output / "adapter") == weights_sha256(two / "adapter")
    assert_same_steps(spec.output, two, 1e-12)
    assert not workers_of(cluster)


def test_what_cannot_be_is_told_once(cluster, folder):
    spec = spec_for(folder, "refused", 2, learning_rate=1e-4).model_copy(update={"model": str(folder / "nothing")})
    driven = Driven(cluster, spec, 2)
    assert driven.end() == 4, driven.said()
    assert json.loads((spec.output / "error.json").read_text())["exit_code"] == 4


def test_two_steps_of_half_a_billion(cluster, folder):
    make_random_model("qwen2-0.5b-instruct", folder / "half")
    options = {"model": str(folder / "half"), "max_steps": 2, "seq_length": 128, "save_steps": 0}
    alone = run_spec(spec_for(folder, "half-one", 4, **options))[0].output  # two rows a step, one a worker
    for strategy, tolerance in (("ddp", 1e-5), ("fsdp2", 1e-4)):
        spec = spec_for(folder, f"half-{strategy}", 8, strategy=strategy, **options)
        # The gradient's norm hangs on log-probs of some hundred, whose fp32 has no digit to spare.
        assert_same_steps(drive(cluster, spec, 2), alone, tolerance, beside_loss=1e-4)
        shutil.rmtree(spec.output)
    shutil.rmtree(folder / "half")
