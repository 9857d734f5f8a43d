"""Run specifications on the embedded model with a few rows of their own."""

import json
import math
from pathlib import Path
from typing import Any

from quickalign.core import spec as specs
from quickalign.core.spec import RunSpec
from quickalign.train.observer import RunResult
from quickalign.train.run import run
from tests.support.loops import Recorder

LN_2 = math.log(2)


def write_rows(folder: Path, count: int = 24, kind: str = "dpo") -> Path:
    """A small file of preference pairs or of answers, in two languages."""
    questions = ["May I ask about {}?", "我很难过，因为{}。", "How do I get better at {}?", "Is {} a good idea?"]
    rows: list[dict[str, str]] = []
    for number in range(count):
        question = questions[number % 4].format(f"thing {number}")
        good, bad = f"Of course, let us look at thing {number} together.", "No." if number % 3 else "不。"
        row = {"instruction": question, "output": good}
        rows.append(row if kind == "sft" else {"prompt": question, "chosen": good, "rejected": bad})
    file = folder / f"{kind}.json"
    file.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return file


def make_spec(folder: Path, name: str, *, model: str = "qwen2-tiny-instruct", **options: Any) -> RunSpec:
    """A run of 3 steps in fp32 without quantisation, unless `options` say otherwise."""
    names = ("resume", "validation", "sample_prompts", "sample_tokens", "closing_rows")
    top = {key: options.pop(key) for key in names if key in options}
    defaults = {
        "training_strategy": "dpo",
        "precision": "fp32",
        "max_steps": 3,
        "gradient_accumulation_steps": 4,
        "learning_rate": 1e-3,
        "lora_dim": 4,
    }
    hyperparameters = {**defaults, **options}
    if hyperparameters["lora_dim"]:
        hyperparameters.setdefault("load_in_4bit", False)
    kind = hyperparameters["training_strategy"]
    data = folder / f"{kind}.json"
    values = {
        "model": model,
        "train": str(data if data.exists() else write_rows(folder, kind=kind)),
        "output": str(folder / name),
        "sample_prompts": ["Hello!"] if top.get("sample_tokens", 24) else [],
        "sample_tokens": 24,
        "closing_rows": 0,
        "hyperparameters": hyperparameters,
        **top,
    }
    return specs.parse(values)


def run_spec(spec: RunSpec) -> tuple[RunResult, Recorder]:
    """Run it in this process."""
    recorder = Recorder()
    return run(spec, recorder), recorder
