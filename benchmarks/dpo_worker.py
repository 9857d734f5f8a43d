"""One side of the training benchmark in a process of its own: trains a few steps, prints one line of JSON.

    python -m benchmarks.dpo_worker '{"side": "ours", ...}'

`dpo_vs_trl.py` starts it; the fields are those of `Job`.
"""

import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from benchmarks.dpo_rows import make_rows
from quickalign.data.encode import EncodedPair
from quickalign.hub.shape import read_shape
from quickalign.train.device import peak_memory, reset_peak


DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Job:
    """What one process does.

    Attributes:
        side: `ours` or `trl`.
        model: folder of the model.
        data: see `dpo_rows.make_rows`.
        seq_length: longest prompt plus answer.
        rows_per_step: pairs per optimiser step.
        steps: optimiser steps of an epoch. The last epoch is measured, so that both sides, whatever their order, are
            measured on the same rows.
        epochs: 2 warms up on the same rows first; 1 for a sweep, and where a step takes so long that warming up, which
            is a matter of milliseconds, does not show.
        lora_dim: rank of the adapter on all linear layers.
        precision: bf16 or fp32 weights.
        reference: `live`, or `cached` (computed beforehand, not counted).
        quantization: `none`, `4bit` or `8bit`.
        token_budget: ours: tokens per micro-batch.
        batch: TRL: rows per micro-batch.
        autocast: TRL: its bf16 option, mixed precision on top of the bf16 weights.
        checkpointing: TRL: recompute activations.
        grouped: TRL: batches of similar lengths.
        threads: threads of torch; 0 for its own choice.
    """

    side: str
    model: str
    data: str = "hh-like"
    seq_length: int = 128
    rows_per_step: int = 8
    steps: int = 3
    epochs: int = 2
    lora_dim: int = 32
    precision: str = "bf16"
    reference: str = "live"
    quantization: str = "none"
    token_budget: int = 1024
    batch: int = 1
    autocast: bool = False
    checkpointing: bool = False
    grouped: bool = False
    threads: int = 0


@dataclass(frozen=True)
class Measured:
    """Seconds of wall and processor time of every step of the last epoch, losses, and the peak memory in bytes.

    The peak is that of training: on the CPU the process's resident memory, counted from the first step on, because
    both sides load the base by the same code and the pages of its file count as resident until it is loaded.
    """

    seconds: list[float]
    cpu_seconds: list[float]
    losses: list[float]
    peak_bytes: int
    base_bytes: int


class Clock:
    """Notes the time of every step."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []

    def tick(self) -> None:
        """A step begins or ends."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        if not self.wall:
            reset_peak(DEVICE)
        self.wall.append(time.perf_counter())
        self.cpu.append(time.process_time())

    def spans(self, times: list[float], epochs: int) -> list[float]:
        """Seconds of each step of the last epoch."""
        spans = [end - start for start, end in pairwise(times)]
        return spans[len(spans) // epochs * (epochs - 1) :]


def ours(job: Job, rows: list[EncodedPair], clock: Clock) -> tuple[list[float], int]:
    """Train with quickalign's own loop; returns the losses and the bytes of the base."""
    from quickalign.core.hyperparameters import Hyperparameters  # noqa: PLC0415 - only this side's imports are counted
    from quickalign.train.distributed import Processes  # noqa: PLC0415
    from quickalign.train.model import DTYPES, load_base, make_policy  # noqa: PLC0415
    from quickalign.train.objective import Objective  # noqa: PLC0415
    from quickalign.train.optimizer import make_optimizer  # noqa: PLC0415
    from quickalign.train.scoring.cached import precompute  # noqa: PLC0415
    from quickalign.train.scoring.choose import choose_scorer  # noqa: PLC0415
    from quickalign.train.scoring.records import RecordFile  # noqa: PLC0415
    from quickalign.train.scoring.reference import LiveReference, Reference  # noqa: PLC0415
    from quickalign.train.stepper import Stepper  # noqa: PLC0415

    parameters = Hyperparameters(
        training_strategy="dpo",
        lora_dim=job.lora_dim,
        load_in_4bit=job.quantization == "4bit",
        load_in_8bit=job.quantization == "8bit",
    )
    processes = Processes(cpu=not torch.cuda.is_available())
    base = load_base(
        Path(job.model),
        dtype=DTYPES[job.precision],
        quantization=parameters.quantization,
        device=processes.device,
    )
    policy = make_policy(base, parameters, precision=job.precision)
    scorer, reason = choose_scorer(
        policy.model,
        token_budget=job.token_budget,
        rows_per_micro=1,
        longest_row=max(len(row.prompt) + max(len(row.chosen), len(row.rejected)) for row in rows),
        pad_id=0,
        device=processes.device,
    )
    if reason:
        raise SystemExit(reason)
    reference: Reference = LiveReference(scorer)
    if job.reference == "cached":
        with tempfile.TemporaryDirectory() as folder, policy.model.disable_adapter():  # type: ignore[operator]
            records = RecordFile(Path(folder) / "reference")
            reference = precompute(policy.model, scorer, records, rows, rows_per_batch=job.rows_per_step)
    optimizer = make_optimizer(policy.trainable, parameters, processes.device)
    stepper = Stepper(policy, Objective(scorer, reference, parameters), optimizer, processes, parameters, job.precision)
    losses: list[float] = []
    clock.tick()
    for start in [*range(0, len(rows), job.rows_per_step)] * job.epochs:
        batch = rows[start : start + job.rows_per_step]
        sums = stepper.step(batch, len(batch), parameters.learning_rate, first=not losses, stop=False)
        losses.append(sums.mean("loss"))
        clock.tick()
    return losses, policy.base_bytes


def trl(job: Job, rows: list[EncodedPair], clock: Clock) -> tuple[list[float], int]:
    """Train with TRL's DPOTrainer on the same token ids; returns the losses and the bytes of the base."""
    from datasets import Dataset  # noqa: PLC0415
    from peft import LoraConfig  # noqa: PLC0415
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, TrainerCallback  # noqa: PLC0415
    from trl.trainer.dpo_config import DPOConfig  # noqa: PLC0415
    from trl.trainer.dpo_trainer import DPOTrainer  # noqa: PLC0415

    class Timer(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.tick()

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            clock.tick()

    class TokenTrainer(DPOTrainer):
        """Takes rows of token ids as they are; nothing else is changed."""

        def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
            return dataset

    settings: dict[str, Any] = {"dtype": torch.bfloat16 if job.precision == "bf16" else torch.float32}
    if job.quantization == "4bit":
        settings["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=settings["dtype"],
        )
    if torch.cuda.is_available():
        settings["device_map"] = {"": 0}
    model = AutoModelForCausalLM.from_pretrained(job.model, **settings)
    base_bytes = sum(t.numel() * t.element_size() for t in model.parameters())
    with tempfile.TemporaryDirectory() as folder:
        config = DPOConfig(
            output_dir=folder,
            per_device_train_batch_size=job.batch,
            gradient_accumulation_steps=max(job.rows_per_step // job.batch, 1),
            num_train_epochs=job.epochs,
            learning_rate=5e-5,
            beta=0.1,
            max_length=None,
            bf16=job.autocast,
            gradient_checkpointing=job.checkpointing,
            precompute_ref_log_probs=job.reference == "cached",
            train_sampling_strategy="group_by_length" if job.grouped else "sequential",
            remove_unused_columns=False,
            use_cpu=not torch.cuda.is_available(),
            dataloader_pin_memory=False,
            logging_steps=1,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
        )
        trainer = TokenTrainer(
            model=model,
            args=config,
            train_dataset=Dataset.from_list([_trl_row(row) for row in rows]),
            processing_class=AutoTokenizer.from_pretrained(job.model),
            peft_config=LoraConfig(r=job.lora_dim, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
            callbacks=[Timer()],
        )
        trainer.train()
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return losses, base_bytes


def _trl_row(row: EncodedPair) -> dict[str, Any]:
    prompt, chosen, rejected = (ids.tolist() for ids in (row.prompt, row.chosen, row.rejected))
    longest = len(prompt) + max(len(chosen), len(rejected))
    return {
        "prompt_ids": prompt,
        "chosen_ids": chosen,
        "rejected_ids": rejected,
        "length": longest,
    }


def run(job: Job) -> Measured:
    """Do one job in this process."""
    if job.threads:
        torch.set_num_threads(job.threads)
    torch.manual_seed(0)
    vocabulary = read_shape(Path(job.model)).vocab
    rows = make_rows(job.data, job.rows_per_step * job.steps, job.seq_length, vocabulary)
    clock = Clock()
    losses, base_bytes = (ours if job.side == "ours" else trl)(job, rows, clock)
    peak = int(torch.cuda.max_memory_reserved()) if DEVICE.type == "cuda" else peak_memory(DEVICE)
    return Measured(clock.spans(clock.wall, job.epochs), clock.spans(clock.cpu, job.epochs), losses, peak, base_bytes)


if __name__ == "__main__":
    print(json.dumps(asdict(run(Job(**json.loads(sys.argv[1]))))))
