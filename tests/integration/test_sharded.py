"""Two processes, with whole weights and with pieces of them (FSDP2), train, answer, measure, save and go on as one."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from quickalign.core.spec import RunSpec
from quickalign.train.finish import read_result
from quickalign.train.manifest import weights_sha256
from quickalign.train.metrics import read_evaluations, read_steps
from quickalign.train.saved import list_checkpoints
from tests.support.specs import make_spec, run_spec
from tests.support.trl_runs import relative

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-4
# Small micro-batches, so that the two processes have different numbers of them; the last step has a single row.
COMMON = {
    "max_steps": 4,
    "save_steps": 2,
    "eval_steps": 2,
    "validation_split": 0.2,
    "token_budget": 96,
    "learning_rate": 1e-3,
    "sample_tokens": 12,
    "gradient_accumulation_steps": 6,
}
KINDS = {
    # epochs of two steps, so that each process meets rows whose reference another one has computed
    "whole": {"lora_dim": 4, "gradient_accumulation_steps": 10, "max_steps": 5, "save_steps": 3, "num_train_epochs": 3},
    "lora": {"lora_dim": 4, "reference": "live"},
    "full": {"lora_dim": 0, "load_in_4bit": False, "gradient_checkpointing": "on"},
}


def launch(spec: RunSpec) -> subprocess.CompletedProcess[str]:
    file = spec.output.with_suffix(".json")
    file.write_text(spec.model_dump_json())
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    places = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
    return subprocess.run(
        [*command, "-m", "quickalign.train", str(file)],
        env=os.environ | {"PYTHONPATH": places, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def weights_of(output: Path) -> dict:
    folder = next(folder for folder in (output / "adapter", output / "model") if folder.exists())
    return load_file(next(folder.glob("*.safetensors")))


def assert_same_run(found: Path, expected: Path) -> None:
    names = ("loss", "grad_norm", "rewards_chosen", "rewards_rejected", "logps_chosen", "logps_rejected", "epoch")
    steps, others = read_steps(expected), read_steps(found)
    assert len(steps) == len(others) >= 4
    for one, other in zip(steps, others, strict=True):
        for name in names:
            assert getattr(other, name) == pytest.approx(getattr(one, name), rel=TOLERANCE, abs=1e-6), (one.step, name)
    for one, other in zip(read_evaluations(expected), read_evaluations(found), strict=True):
        assert (other.step, other.rows) == (one.step, one.rows)
        assert other.loss == pytest.approx(one.loss, rel=TOLERANCE)
    weights = weights_of(expected)
    assert weights.keys() == weights_of(found).keys()
    for name, tensor in weights_of(found).items():
        assert relative(tensor, weights[name]) < 10 * TOLERANCE, name


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_equal_one_and_go_on(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("QUICKALIGN_HOME", str(tmp_path / "home"))
    options = COMMON | KINDS[kind]
    rows = options["gradient_accumulation_steps"]
    one, _ = run_spec(make_spec(tmp_path, "one", **options))
    spec = make_spec(tmp_path, "two", **options | {"gradient_accumulation_steps": rows // 2})
    spec = spec.model_copy(update={"strategy": "ddp" if kind == "whole" else "fsdp2"})
    done = launch(spec)
    assert done.returncode == 0, done.stderr[-3000:]
    assert_same_run(spec.output, one.output)
    two = read_result(spec.output)
    assert two is not None
    assert two.samples == one.samples
    assert two.adapter_sha256 == weights_sha256(list_checkpoints(spec.output)[-1].folder / two.adapter.name)
    if kind == "lora":
        return
    shutil.rmtree(list_checkpoints(spec.output)[-1].folder)
    (spec.output / "result.json").unlink()
    assert launch(spec).returncode == 0
    again = read_result(spec.output)
    assert again is not None
    assert again.resumed_from == options["save_steps"]
    assert again.adapter_sha256 == two.adapter_sha256


@pytest.mark.slow
def test_what_pieces_cannot_do_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("QUICKALIGN_HOME", str(tmp_path / "home"))
    spec = make_spec(tmp_path, "two", load_in_4bit=True).model_copy(update={"strategy": "fsdp2"})
    done = launch(spec)
    assert done.returncode != 0
    told = json.loads((spec.output / "error.json").read_text())["message"]
    assert "strategy='fsdp2' is not possible with load_in_4bit=true" in told
