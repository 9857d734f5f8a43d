"""Running the training loop on rows in memory, without files or tokenizers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from quickalign.core.hyperparameters import Hyperparameters
from quickalign.core.spec import RunSpec
from quickalign.data.encode import EncodedRow
from quickalign.train.distributed import Processes
from quickalign.train.loop import Loop, Setup
from quickalign.train.manifest import BaseReference, Manifest
from quickalign.train.model import make_policy
from quickalign.train.objective import Objective
from quickalign.train.observer import Evaluation, Observer, StepMetrics
from quickalign.train.plan import Plan
from quickalign.train.scoring.base import Scorer
from quickalign.train.scoring.plain import PlainScorer
from quickalign.train.scoring.reference import LiveReference
from tests.support.runs import PAD


@dataclass
class Recorder(Observer):
    """Keeps what a loop reports."""

    steps: list[StepMetrics] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def step(self, metrics: StepMetrics, total_steps: int) -> None:
        self.steps.append(metrics)

    def evaluation(self, evaluation: Evaluation) -> None:
        self.evaluations.append(evaluation)

    def warning(self, message: str) -> None:
        self.warnings.append(message)

    def note(self, message: str) -> None:
        self.notes.append(message)


class NoTokenizer:
    """Stands in where only saving is asked for."""

    def save_pretrained(self, folder: Path) -> None:
        """Writes nothing."""


def make_plan(parameters: Hyperparameters, precision: str = "fp32") -> Plan:
    """A plan of no consequence."""
    return Plan(
        device="test",
        device_kind="cpu",
        precision=precision,  # type: ignore[arg-type]
        method=parameters.method,
        world_size=1,
        rows=1,
        rows_per_step=1,
        steps=1,
        micro_batches_per_step=1.0,
        tokens_per_epoch=1,
        computed_tokens_per_epoch=1,
        packing=False,
        token_budget=0,
        gradient_checkpointing=False,
        cuda_graphs=False,
        reordered_weights=False,
        reference="live",
        decisions=(),
        parts={},
        predicted_peak_bytes=0,
        available_bytes=1,
        disk_bytes=0,
        disk_free_bytes=1,
    )


def make_setup(
    model: PreTrainedModel,
    rows: Sequence[EncodedRow],
    parameters: Hyperparameters,
    output: Path,
    *,
    validation: Sequence[EncodedRow] = (),
    scorer: Scorer | None = None,
    adapter: dict[str, Tensor] | None = None,
) -> Setup:
    """A set-up on `model` with the plain scorer and the live reference unless told otherwise."""
    precision = "fp64" if model.dtype == torch.float64 else "fp32"
    policy = make_policy(model, parameters, precision=precision)
    if adapter:
        with torch.no_grad():
            for name, parameter in policy.trainable.items():
                parameter.copy_(adapter[name])
    processes = Processes(cpu=True)
    device = processes.device
    used = scorer or PlainScorer(pad_id=PAD, rows_per_micro=parameters.per_device_train_batch_size, device=device)
    reference = None if parameters.reference_free else LiveReference(used)
    base = BaseReference(name="small", source="small", revision=None, fingerprint="0")
    values: dict[str, Any] = {"version": "0", "kind": policy.kind, "base": base, "method": parameters.method}
    values |= {"training_strategy": parameters.training_strategy, "precision": precision, "system_prompt": ""}
    values |= {"apply_chat_template": True, "seq_length": 128, "data_fingerprint": "", "hyperparameters": {}, "step": 0}
    output.mkdir(parents=True, exist_ok=True)
    return Setup(
        spec=RunSpec(model="small", train="rows", output=output, hyperparameters=parameters),
        policy=policy,
        objective=Objective(used, reference, parameters),
        tokenizer=NoTokenizer(),  # type: ignore[arg-type]
        rows=rows,
        validation=validation,
        processes=processes,
        plan=make_plan(parameters, precision),
        manifest=Manifest(**values),
        identity={},
    )


def train(setup: Setup) -> Recorder:
    """Run the loop from its start."""
    recorder = Recorder()
    Loop(setup, recorder).run(None)
    return recorder
