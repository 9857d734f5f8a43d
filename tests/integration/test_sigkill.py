"""The real program, killed with SIGKILL at random steps, ends with the bytes of an uninterrupted run."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

STEPS = 24
SAFE = 16
"""The last step to kill at: on a busy machine the kill reaches a program that is already some steps further."""
KILLS = 5


def write_spec(folder: Path, output: Path) -> Path:
    prompts = ["May I ask you something?", "我很难过。", "How do I sleep better?", "Tell me about {}."]
    rows = [
        {
            "prompt": prompts[n % 4].replace("{}", str(n)),
            "chosen": f"Of course, I am glad to help you with number {n}.",
            "rejected": "No." if n % 3 else "不。",
        }
        for n in range(48)
    ]
    data = folder / "rows.json"
    data.write_text(json.dumps(rows, ensure_ascii=False))
    spec = folder / f"{output.name}.json"
    options = {
        "training_strategy": "dpo",
        "load_in_4bit": False,
        "precision": "fp32",
        "num_train_epochs": 3,
        "gradient_accumulation_steps": 4,
        "lora_dim": 4,
        "lora_dropout": 0.05,
        "save_steps": 3,
        "validation_split": 0.1,
        "max_steps": STEPS,
        "learning_rate": 1e-3,
    }
    spec.write_text(
        json.dumps(
            {
                "model": "qwen2-tiny-instruct",
                "train": str(data),
                "output": str(output),
                "sample_prompts": ["Hello!"],
                "hyperparameters": options,
            }
        )
    )
    return spec


def run(spec: Path, kill_at: int | None = None) -> int:
    """Run the program; kill it as soon as it reports step `kill_at`. Returns the last step it reported."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-m", "quickalign.train", str(spec)]
    last = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            if line.startswith("step "):
                last = int(line.split()[1].split("/")[0])
            if kill_at is not None and last >= kill_at:
                process.send_signal(signal.SIGKILL)
                break
        process.stdout.read()
    assert process.returncode == (0 if kill_at is None else -signal.SIGKILL)
    return last


@pytest.mark.slow
def test_sigkill_at_random_steps(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run(write_spec(tmp_path, whole))
    spec = write_spec(tmp_path, cut)
    for step in sorted(random.sample(range(1, SAFE + 1), KILLS)):
        run(spec, kill_at=step)
        assert not (cut / "result.json").exists()
    run(spec)
    expected, found = (json.loads((folder / "result.json").read_text()) for folder in (whole, cut))
    assert found["adapter_sha256"] == expected["adapter_sha256"]
    assert found["steps"] == expected["steps"] == STEPS
    assert found["resumed_from"] > 0
    assert found["samples"] == expected["samples"]
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (cut / "adapter" / name).read_bytes() == (whole / "adapter" / name).read_bytes()
    lines = [(folder / "metrics.jsonl").read_text().splitlines() for folder in (whole, cut)]
    losses = [[json.loads(line)["loss"] for line in part] for part in lines]
    assert losses[0] == losses[1]
