"""The planner's prediction against the measured peak of whole runs, each in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

METHODS: dict[str, dict[str, Any]] = {
    "lora": {"load_in_4bit": False},
    "qlora-4bit": {},
    "qlora-8bit": {"load_in_8bit": True},
    "full": {"lora_dim": 0},
}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is measured on Linux only")
@pytest.mark.parametrize("packing", ["auto", "off"])
@pytest.mark.parametrize("method", METHODS)
def test_the_predicted_peak_is_within_15_percent(tmp_path, method, packing):
    rows = [
        {
            "prompt": f"{i} {'please help me with this plan ' * 12}",
            "chosen": "good way " * 24,
            "rejected": "no day " * 20,
        }
        for i in range(32)
    ]
    data = tmp_path / "pairs.json"
    data.write_text(json.dumps(rows))
    options = {"training_strategy": "dpo", "seq_length": 256, "max_steps": 3, "packing": packing, **METHODS[method]}
    spec = {
        "model": "qwen2-tiny-instruct",
        "train": str(data),
        "output": str(tmp_path / "run"),
        "sample_prompts": ["Hi."],
    }
    (tmp_path / "spec.json").write_text(json.dumps(spec | {"hyperparameters": options}))
    environment = {"QUICKALIGN_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "quickalign.train", str(tmp_path / "spec.json")]
    subprocess.run(command, check=True, capture_output=True, env=environment, timeout=300)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["predicted_peak_bytes"] == pytest.approx(result["peak_memory_bytes"], rel=0.15)
