"""The training loop: steps, metrics, evaluations, checkpoints, and stopping so that it can go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from quickalign.core.errors import Interrupted
from quickalign.core.spec import RunSpec
from quickalign.data.encode import EncodedRow
from quickalign.train import checkpoint as checkpoints
from quickalign.train.device import peak_memory
from quickalign.train.distributed import Processes
from quickalign.train.evaluation import evaluate
from quickalign.train.manifest import Manifest
from quickalign.train.metrics import DisplacementAlarm, MetricsLog
from quickalign.train.model import Policy
from quickalign.train.objective import Objective
from quickalign.train.observer import Observer, StepMetrics
from quickalign.train.optimizer import make_optimizer
from quickalign.train.order import BatchOrder
from quickalign.train.plan import Plan, with_speed
from quickalign.train.saved import Checkpoint, step_folder
from quickalign.train.schedule import learning_rate
from quickalign.train.signals import StopRequest, never, stop_request
from quickalign.train.stepper import Stepper, StepSums
from quickalign.train.weights import Weights, WholeWeights

MEASURED_STEPS = 3


@dataclass(frozen=True, slots=True)
class Setup:
    """A run with everything loaded.

    Attributes:
        plan: what was decided for this run; checkpoints keep its choices.
        rows: encoded training rows.
        validation: encoded validation rows; may be empty.
        manifest: what `quickalign.json` says of the trained weights.
        identity: what must be equal for a checkpoint to be of this run.
    """

    spec: RunSpec
    policy: Policy
    objective: Objective
    tokenizer: PreTrainedTokenizerBase
    rows: Sequence[EncodedRow]
    validation: Sequence[EncodedRow]
    processes: Processes
    plan: Plan
    manifest: Manifest
    identity: dict[str, Any]


class Loop:
    """Trains a `Setup` from its start or from a checkpoint; `stop` says whether it is to save and stop."""

    def __init__(self, setup: Setup, observer: Observer, stop: Callable[[], bool] = never) -> None:
        self._setup = setup
        self._asked_to_stop = stop
        self._observer = observer
        self._parameters = parameters = setup.spec.hyperparameters
        self._processes = processes = setup.processes
        self._order = BatchOrder(len(setup.rows), parameters.rows_per_step * processes.world_size, parameters.seed)
        self._alarm = DisplacementAlarm(parameters.dpo_beta)
        self.total_steps = self._order.total_steps(parameters)
        self._began = time.perf_counter()
        self._began_after = 0.0

    def run(self, start: Checkpoint | None) -> StepMetrics | None:
        """Train to the end; returns the last step's metrics, or None when nothing was left to do.

        Raises:
            Interrupted: the user stopped the run; a checkpoint of the last finished step is on disk.
            RunError: an invariant broke.
        """
        first = start.step if start else 0
        self._make_ready(start)
        torch.manual_seed(self._parameters.seed + self._processes.rank)
        if start:
            _set_random_state(checkpoints.load_random_state(start, self._processes.rank))
        log = MetricsLog(self._setup.spec.output, first) if self._processes.is_main else None
        try:
            with stop_request(self._asked_to_stop) as stop:
                return self._run(first, log, stop)
        finally:
            if log:
                log.close()

    def _make_ready(self, start: Checkpoint | None) -> None:
        setup, parameters, processes = self._setup, self._parameters, self._processes
        if start:
            checkpoints.load_weights(setup.policy, start)  # whole ones; they are cut into pieces afterwards
        self._weights = _weights(setup)
        self._optimizer = make_optimizer(self._weights.tensors, parameters)
        self._stepper = Stepper(
            setup.policy,
            self._weights,
            setup.objective,
            self._optimizer,
            processes,
            parameters,
            setup.plan.precision,
        )
        if start:
            self._restore(start)

    def _run(self, first: int, log: MetricsLog | None, stop: StopRequest) -> StepMetrics | None:
        if first == 0:
            self._evaluate(0, log)
        metrics: StepMetrics | None = None
        spent: list[float] = []
        for index in range(first, self.total_steps):
            began = time.perf_counter()
            sums = self._step(index, stop.asked)
            spent.append(time.perf_counter() - began)
            metrics = self._report(index, sums, spent[-1], log)
            if len(spent) == MEASURED_STEPS:
                seconds = min(spent[1:]) if self.total_steps > MEASURED_STEPS else spent[-1]
                self._observer.plan(with_speed(self._setup.plan, seconds, index + 1))
            self._after(index + 1, log, stop=sums.stop_asked)
        return metrics

    def _step(self, index: int, stop: bool) -> StepSums:
        share = self._order.share(index, self._processes.rank, self._processes.world_size)
        rows = [self._setup.rows[i] for i in share]
        batch_rows = len(self._order.batch(index))
        rate = learning_rate(index, self.total_steps, self._parameters)
        return self._stepper.step(rows, batch_rows, rate, first=index == 0, stop=stop)

    def _report(self, index: int, sums: StepSums, seconds: float, log: MetricsLog | None) -> StepMetrics:
        metrics = self._metrics(index, sums, seconds)
        if log:
            log.step(metrics)
        self._observer.step(metrics, self.total_steps)
        if sums.skipped:
            self._warn(index + 1, f"Step {index + 1} was skipped: the fp16 loss scale was too high and is halved.", log)
        if not self._parameters.reference_free and (warning := self._alarm.update(metrics)):
            self._warn(index + 1, warning, log)
        return metrics

    def _warn(self, step: int, message: str, log: MetricsLog | None) -> None:
        self._observer.warning(message)
        if log:
            log.warning(step, message)

    def _metrics(self, index: int, sums: StepSums, seconds: float) -> StepMetrics:
        pairs = not self._setup.objective.per_token
        chosen, rejected = sums.mean("rewards_chosen"), sums.mean("rewards_rejected")
        return StepMetrics(
            step=index + 1,
            epoch=(index + 1) / self._order.steps_per_epoch,
            loss=sums.mean("loss") if pairs else sums.values["loss"] / sums.values["answer_tokens"],
            grad_norm=sums.grad_norm,
            learning_rate=learning_rate(index, self.total_steps, self._parameters),
            rewards_chosen=chosen if pairs else None,
            rewards_rejected=rejected if pairs else None,
            rewards_margin=chosen - rejected if pairs else None,
            rewards_accuracy=sums.mean("correct") if pairs else None,
            logps_chosen=sums.mean("logps_chosen"),
            logps_rejected=sums.mean("logps_rejected") if pairs else None,
            tokens_per_second=sums.values["tokens"] / seconds,
            pairs_per_second=sums.values["rows"] / seconds,
            peak_memory_bytes=peak_memory(self._processes.device),
        )

    def _after(self, done: int, log: MetricsLog | None, *, stop: bool) -> None:
        """Evaluate and save where it is due; leave when a stop was asked for."""
        parameters = self._parameters
        last = done == self.total_steps
        if last or (parameters.eval_steps and done % parameters.eval_steps == 0):
            self._evaluate(done, log)
        if last or stop or (parameters.save_steps and done % parameters.save_steps == 0):
            folder = self._save(done)
            self._observer.saved(done, folder)
        if stop and not last:
            raise Interrupted(
                f"Stopped after step {done} of {self.total_steps}; everything up to there is saved.",
                f"The same command with --output {self._setup.spec.output} goes on from there.",
            )

    def _evaluate(self, step: int, log: MetricsLog | None) -> None:
        setup = self._setup
        if not setup.validation:
            return
        found = evaluate(setup.policy, self._weights, setup.objective, setup.validation, self._processes, step)
        if log:
            log.evaluation(found)
        self._observer.evaluation(found)

    def _save(self, step: int) -> Path:
        setup = self._setup
        setup.objective.flush()
        random_states = self._processes.gather(_random_state())
        weights = self._weights.trained()
        optimizer = self._weights.state(self._optimizer)
        if self._processes.is_main:
            checkpoints.save(
                setup.spec.output,
                step=step,
                policy=setup.policy,
                tokenizer=setup.tokenizer,
                manifest=setup.manifest.model_copy(update={"step": step}),
                weights=weights,
                optimizer=optimizer,
                random_states=random_states,
                state={
                    "identity": setup.identity,
                    "choices": choices(setup.plan),
                    "alarm": self._alarm.state(),
                    "scaler": self._stepper.scaler.state_dict(),
                    "seconds": self._began_after + time.perf_counter() - self._began,
                },
                keep=self._parameters.save_total_limit,
            )
        self._processes.barrier()
        return step_folder(setup.spec.output, step)

    def _restore(self, start: Checkpoint) -> None:
        self._weights.load_state(self._optimizer, checkpoints.load_optimizer(start))
        self._alarm.load(start.state["alarm"])
        self._began_after = start.state["seconds"]
        if start.state["scaler"]:
            self._stepper.scaler.load_state_dict(start.state["scaler"])


def choices(plan: Plan) -> dict[str, Any]:
    """The options that the planner decided, as hyperparameters; a resumed run must cut and round as it did before."""
    decided = {
        "packing": "on" if plan.packing else "off",
        "token_budget": plan.token_budget,
        "gradient_checkpointing": "on" if plan.gradient_checkpointing else "off",
        "precision": plan.precision,
    }
    return decided if plan.reference == "none" else decided | {"reference": plan.reference}


def _weights(setup: Setup) -> Weights:
    if setup.spec.strategy == "ddp":
        return WholeWeights(setup.policy, setup.processes)
    from quickalign.train.sharded import ShardedWeights  # noqa: PLC0415 - half a second that only a sharded run should pay

    return ShardedWeights(setup.policy, setup.processes)


def _random_state() -> Tensor:
    """PyTorch's random state; the only one training draws from (dropout)."""
    states = [torch.get_rng_state()]
    if torch.cuda.is_available():
        states.append(torch.cuda.get_rng_state())
    return torch.cat(states)


def _set_random_state(state: Tensor) -> None:
    size = torch.get_rng_state().numel()
    torch.set_rng_state(state[:size])
    if torch.cuda.is_available() and state.numel() > size:
        torch.cuda.set_rng_state(state[size:])
