"""Our side of the training benchmark: quickalign's own loop on rows of token ids, as the planner would run it here."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.dpo_job import Clock, Job, Trained
from benchmarks.flops import step_flops
from quickalign.core.hyperparameters import Hyperparameters
from quickalign.data.encode import EncodedPair
from quickalign.data.prefix_tree import beginning_of_all
from quickalign.hub.shape import ModelShape, read_shape
from quickalign.train.candidates import Situation
from quickalign.train.demand import adapter_parameters
from quickalign.train.device import find_device
from quickalign.train.distributed import Processes
from quickalign.train.model import DTYPES, Policy, load_base, make_policy
from quickalign.train.objective import Objective
from quickalign.train.optimizer import make_optimizer
from quickalign.train.scoring.base import Scorer
from quickalign.train.scoring.cached import precompute
from quickalign.train.scoring.choose import choose_scorer
from quickalign.train.scoring.records import RecordFile
from quickalign.train.scoring.reference import LiveReference, Reference
from quickalign.train.settle import Settled, settle
from quickalign.train.stepper import Stepper
from quickalign.train.weights import WholeWeights


def train(job: Job, rows: Sequence[EncodedPair], clock: Clock) -> Trained:
    """Train `job` on `rows`."""
    parameters = Hyperparameters(
        training_strategy="dpo",
        lora_dim=job.lora_dim,
        load_in_4bit=job.quantization == "4bit",
        load_in_8bit=job.quantization == "8bit",
        gradient_accumulation_steps=job.rows_per_step,
        token_budget=job.token_budget,
        precision="bf16" if job.precision == "bf16" else "fp32",
        gradient_checkpointing="on" if job.checkpointing else "auto",
    )
    shape = read_shape(Path(job.model))
    settled = _settle(parameters, shape, rows)
    processes = Processes(cpu=not torch.cuda.is_available())
    policy = _policy(job, parameters, settled, processes.device)
    scorer = _scorer(policy, settled, rows, processes.device)
    reference = _reference(job, policy, scorer, rows)
    optimizer = make_optimizer(policy.trainable, parameters)
    objective, weights = Objective(scorer, reference, parameters), WholeWeights(policy, processes)
    stepper = Stepper(policy, weights, objective, optimizer, processes, parameters, job.precision)
    losses: list[float] = []
    batches = [rows[start : start + job.rows_per_step] for start in range(0, len(rows), job.rows_per_step)]
    clock.tick()
    for batch in batches * job.epochs:
        sums = stepper.step(batch, len(batch), parameters.learning_rate, first=not losses, stop=False)
        losses.append(sums.mean("loss"))
        clock.tick()
    adapter, live = adapter_parameters(shape, parameters), job.reference == "live"
    flops = sum(step_flops(shape, batch, settled.token_budget, adapter, live=live) for batch in batches)
    return Trained(losses, policy.base_bytes, settled.token_budget, flops)


def _settle(parameters: Hyperparameters, shape: ModelShape, rows: Sequence[EncodedPair]) -> Settled:
    lengths = np.array([[len(row.prompt), len(row.chosen), len(row.rejected)] for row in rows])
    beginning = beginning_of_all(row.prompt for row in rows)
    return settle(parameters, Situation(shape, lengths, find_device(), 1, beginning=beginning))


def _policy(job: Job, parameters: Hyperparameters, settled: Settled, device: torch.device) -> Policy:
    dtype = DTYPES[job.precision]
    base = load_base(Path(job.model), dtype=dtype, quantization=parameters.quantization, device=device)
    return make_policy(
        base, parameters, precision=job.precision, checkpointing=settled.checkpointing, reordered=settled.reordered
    )


def _scorer(policy: Policy, settled: Settled, rows: Sequence[EncodedPair], device: torch.device) -> Scorer:
    scorer, reason = choose_scorer(
        policy.model,
        token_budget=settled.token_budget,
        rows_per_micro=1,
        longest_row=max(len(row.prompt) + max(len(row.chosen), len(row.rejected)) for row in rows),
        pad_id=0,
        device=device,
        graphs=settled.graphs,
    )
    if reason:
        raise SystemExit(reason)
    return scorer


def _reference(job: Job, policy: Policy, scorer: Scorer, rows: Sequence[EncodedPair]) -> Reference:
    """The live reference, or its log-probs computed before the clock starts."""
    if job.reference == "live":
        return LiveReference(scorer)
    with tempfile.TemporaryDirectory() as folder, policy.model.disable_adapter():  # type: ignore[operator]
        records = RecordFile(Path(folder) / "reference")
        return precompute(policy.model, scorer, records, rows, rows_per_batch=job.rows_per_step)
