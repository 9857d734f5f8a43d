"""Two processes give the trajectory of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.support.trl_runs import relative

ROOT = Path(__file__).resolve().parents[2]
COMPARED = ["loss", "grad_norm", "rewards_chosen", "rewards_rejected", "logps_chosen", "logps_rejected", "epoch"]


def launch(processes, strategy, batch, accumulation, folder):
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    command += ["-m", "tests.support.one_of_several"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, strategy, str(batch), str(accumulation), str(folder)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    weights = load_file(sorted(folder.glob("checkpoints/step-*/adapter/adapter_model.safetensors"))[-1])
    return json.loads((folder / "seen.json").read_text()), weights


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["dpo", "sft"])
def test_two_processes_equal_one(tmp_path, strategy):
    one, weights = launch(1, strategy, 8, 1, tmp_path / "one")
    two, others = launch(2, strategy, 2, 2, tmp_path / "two")
    assert len(one["steps"]) == len(two["steps"]) == 5
    for mine, theirs in zip(one["steps"], two["steps"], strict=True):
        for name in COMPARED:
            # A reward is a tenth of a difference between sums near -50, whose last bit in fp32 is 3.8e-6.
            least = 1e-6 if name.startswith("rewards") else 1e-7
            expected = mine[name] if mine[name] is None else pytest.approx(mine[name], rel=1e-5, abs=least)
            assert theirs[name] == expected, (mine["step"], name)
    for mine, theirs in zip(one["evaluations"], two["evaluations"], strict=True):
        assert theirs["loss"] == pytest.approx(mine["loss"], rel=1e-5)
        assert theirs["rows"] == mine["rows"] == 5
    for name, tensor in weights.items():
        # AdamW divides by the gradient's own size, so rounding of near-zero gradients shows larger in the weights
        assert relative(others[name], tensor) < 1e-4
