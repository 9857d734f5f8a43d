"""A finished run that never ran: everything a report is made of."""

import json
import math
import random
from pathlib import Path
from typing import Any

from quickalign.core.hyperparameters import Hyperparameters
from quickalign.core.options import parse
from quickalign.core.spec import RunSpec
from quickalign.data.prepare import DataRequest, check
from quickalign.data.report import DataReport
from quickalign.train.device import Device
from quickalign.train.manifest import BaseReference, Manifest
from quickalign.train.observer import Evaluation, RunResult, SampleAnswer, StepMetrics
from quickalign.train.plan import Decision, Plan
from quickalign.train.report.build import RunParts
from tests.support.chat import byte_tokenizer

SAMPLES = (
    SampleAnswer(
        "Could you please hurt me?",
        "I can't do that.",
        "I am sorry that you feel this way. I cannot hurt you, and I would not want to. If things are hard right now, "
        "please talk to someone you trust, or call a helpline near you.",
        repeats=False,
    ),
    SampleAnswer("How do I sleep better?", "Go to bed.", "Go to bed at the same time. " * 6, repeats=True),
    SampleAnswer("你好!", "你好。", "", repeats=False),
)


def make_steps(count: int, seed: int = 0) -> list[StepMetrics]:
    """Metrics of a dpo run that goes well, with the noise of small batches."""
    rng = random.Random(seed)
    return [_step(index + 1, index / max(count - 1, 1), rng, count) for index in range(count)]


def _step(step: int, progress: float, rng: random.Random, count: int) -> StepMetrics:
    margin = 4 * progress**0.7 + rng.gauss(0, 0.3) * (progress > 0)
    chosen = 0.3 * math.sin(3 * progress) + rng.gauss(0, 0.1) * (progress > 0)
    return StepMetrics(
        step=step,
        epoch=2 * progress,
        loss=math.log1p(math.exp(-margin)),
        grad_norm=1.5 + rng.random() + (6 if rng.random() < 0.01 else 0),
        learning_rate=5e-4 * (1 - progress),
        rewards_chosen=chosen,
        rewards_rejected=chosen - margin,
        rewards_margin=margin,
        rewards_accuracy=0.5 if step == 1 else min(1.0, round(8 * (0.55 + 0.4 * progress + rng.gauss(0, 0.08))) / 8),
        logps_chosen=-52 + 10 * chosen,
        logps_rejected=-30 + 10 * (chosen - margin),
        tokens_per_second=3100 + rng.gauss(0, 90),
        pairs_per_second=41 + rng.gauss(0, 1),
        peak_memory_bytes=round(1.11e9 + 2e7 * min(1.0, step / 20)),
    )


def make_evaluations(steps: int) -> tuple[Evaluation, ...]:
    """The validation data before training, half-way and at the end."""
    return (
        Evaluation(0, math.log(2), 0.5, 0.0, -52.0, -30.0, 120),
        Evaluation(steps // 2, 0.31, 0.858, 1.4, -51.0, -44.0, 120),
        Evaluation(steps, 0.17, 0.942, 2.9, -50.2, -58.1, 120),
    )


def make_data(file: Path, rows: int = 60) -> DataReport:
    """What the data check says of a file of `rows` pairs, which is written first."""
    pairs = [
        {"prompt": f"Question {row}?", "chosen": f"A kind answer to {row}. " * (1 + row % 4), "rejected": f"No, {row}."}
        for row in range(rows)
    ]
    file.write_text(json.dumps(pairs), encoding="utf-8")
    return check(DataRequest(uri=str(file), strategy="dpo", seq_length=128), byte_tokenizer())


def make_plan(**changes: Any) -> Plan:
    """The plan of a tiny run on a CPU."""
    values: dict[str, Any] = {
        "device": "Some CPU",
        "device_kind": "cpu",
        "precision": "fp32",
        "method": "lora",
        "world_size": 1,
        "rows": 640,
        "rows_per_step": 8,
        "steps": 160,
        "micro_batches_per_step": 2.25,
        "tokens_per_epoch": 41_200,
        "computed_tokens_per_epoch": 43_000,
        "packing": True,
        "token_budget": 512,
        "gradient_checkpointing": False,
        "cuda_graphs": False,
        "reordered_weights": False,
        "reference": "live",
        "decisions": (Decision("precision", "fp32", "This CPU does not multiply bf16 itself."),),
        "parts": {"program": 700_000_000, "base": 12_000_000, "activations": 310_000_000, "optimizer": 9_000_000},
        "predicted_peak_bytes": 1_031_000_000,
        "available_bytes": 24_000_000_000,
        "disk_bytes": 40_000_000,
        "disk_free_bytes": 90_000_000_000,
        "seconds": None,
    }
    return Plan(**{**values, **changes})


def make_spec(output: Path, parameters: Hyperparameters) -> RunSpec:
    """What the run was asked to do."""
    values = {"model": "qwen2-tiny-instruct", "train": "sample/train.json", "output": output}
    return RunSpec.model_validate({**values, "hyperparameters": parameters})


def make_parts(output: Path, *, count: int = 160, options: dict[str, Any] | None = None, **changes: Any) -> RunParts:
    """A finished dpo run in `output`, which gets an adapter of a few bytes."""
    parameters = parse(options or {"training_strategy": "dpo", "load_in_4bit": False, "num_train_epochs": 2})
    (output / "adapter").mkdir(parents=True, exist_ok=True)
    (output / "adapter" / "adapter_model.safetensors").write_bytes(b"0" * 1500)
    steps = make_steps(count)
    evaluations = changes.pop("evaluations", make_evaluations(count))
    samples = changes.pop("samples", SAMPLES)
    values: dict[str, Any] = {
        "spec": RunSpec(
            model="qwen2-tiny-instruct", train="sample/train.json", output=output, hyperparameters=parameters
        ),
        "manifest": make_manifest(parameters),
        "plan": make_plan(),
        "device": Device("cpu", 0, "Some CPU", 32 * 10**9, 24 * 10**9, bf16=False, cores=2),
        "data": make_data(output / "train.json"),
        "validation_data": make_data(output / "heldout.json"),
        "steps": steps,
        "evaluations": evaluations,
        "warnings": (),
        "result": RunResult(
            output=output,
            adapter=output / "adapter",
            steps=count,
            resumed_from=0,
            final=steps[-1] if steps else None,
            first_evaluation=evaluations[0] if evaluations else None,
            last_evaluation=evaluations[-1] if evaluations else None,
            samples=samples,
            adapter_sha256="cd" * 32,
            peak_memory_bytes=1_130_000_000,
            predicted_peak_bytes=1_031_000_000,
            seconds=154.2,
        ),
    }
    return RunParts(**{**values, **changes})


def make_manifest(parameters: Hyperparameters | None = None, **changes: Any) -> Manifest:
    """What a run of the embedded model says of itself."""
    parameters = parameters or Hyperparameters(load_in_4bit=False)
    name = "qwen2-tiny-instruct"
    values: dict[str, Any] = {
        "version": "0",
        "kind": "adapter",
        "base": BaseReference(name=name, source=name, revision=None, fingerprint="ef" * 32),
        "method": parameters.method,
        "training_strategy": parameters.training_strategy,
        "precision": "fp32",
        "system_prompt": parameters.system_prompt,
        "apply_chat_template": True,
        "seq_length": 128,
        "data_fingerprint": "",
        "hyperparameters": parameters.model_dump(),
        "step": 160,
    }
    return Manifest(**{**values, **changes})
