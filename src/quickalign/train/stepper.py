"""One optimiser step: micro-batches, gradients summed over processes, clipping, the update."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from quickalign.core.errors import RunError
from quickalign.core.hyperparameters import Hyperparameters
from quickalign.data.encode import EncodedRow
from quickalign.train.distributed import Processes
from quickalign.train.model import Policy, autocast
from quickalign.train.objective import SUMS, Objective
from quickalign.train.optimizer import set_learning_rate
from quickalign.train.scoring.base import MicroBatch
from quickalign.train.weights import Weights

# How far the log-ratios may be from 0 before the first update, relative to the log-prob: rounding, never a wrong model.
STEP_0_TOLERANCE = {"fp64": 1e-9, "fp32": 1e-4, "bf16": 2e-2, "fp16": 2e-2}
# LLM.int8 rounds activations to 8 bits, which turns a difference in the last bit into one of a whole step.
STEP_0_TOLERANCE_8BIT = 2e-2
# A step that is skipped halves the loss scale, which begins at 65,536; below this it is not the scale that is at fault.
LEAST_SCALE = 1e-4


@dataclass(frozen=True, slots=True)
class StepSums:
    """The sums over the optimiser batch of all processes, on the host."""

    values: dict[str, float]
    grad_norm: float
    stop_asked: bool
    skipped: bool

    def mean(self, name: str) -> float:
        """Mean over the rows of the quantity `name` of `objective.SUMS`."""
        return self.values[name] / self.values["rows"]


class Stepper:
    """Runs optimiser steps on a policy.

    Args:
        precision: resolved compute precision; fp16 scales the loss so that small gradients do not vanish.
    """

    def __init__(
        self,
        policy: Policy,
        weights: Weights,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        processes: Processes,
        parameters: Hyperparameters,
        precision: str,
    ) -> None:
        self._policy = policy
        self._objective = objective
        self._weights = weights
        self._optimizer = optimizer
        self._processes = processes
        self._parameters = parameters
        self._precision = precision
        self.scaler = torch.amp.GradScaler(processes.device.type, enabled=precision == "fp16")

    def step(
        self, rows: Sequence[EncodedRow], batch_rows: int, learning_rate: float, *, first: bool, stop: bool
    ) -> StepSums:
        """Train on `rows`, this process's share of an optimiser batch of `batch_rows` rows over all processes.

        Args:
            rows: encoded rows; may be empty.
            learning_rate: learning rate of this step.
            first: whether this is step 0, where policy and reference must agree.
            stop: whether this process was asked to stop; all processes learn of it.

        Raises:
            RunError: the loss or gradient is not finite, or step 0 is not where it must be.
        """
        micros = self._objective.scorer.cut(rows) if rows else []
        divisor = self._divisor(micros, batch_rows)
        sums, deviation = self._backward(micros, rows, divisor)
        if first:
            self._check_step_0(deviation)
        self._weights.collect()
        if self.scaler.is_enabled():
            self.scaler.unscale_(self._optimizer)
        grad_norm = self._weights.clip(self._parameters.max_grad_norm)
        values, norm, stop_asked = self._on_host(sums, grad_norm, stop)
        skipped = self._update(values["loss"], norm, learning_rate)
        return StepSums(values, norm, stop_asked=stop_asked, skipped=skipped)

    def _divisor(self, micros: list[MicroBatch], batch_rows: int) -> Tensor:
        """What the sum of losses is divided by: pairs (dpo) or answer tokens (sft) of the whole optimiser batch."""
        device = self._processes.device
        if not self._objective.per_token:
            return torch.tensor(float(batch_rows), device=device)
        tokens = sum((micro.lengths.sum() for micro in micros), torch.zeros((), dtype=torch.int64, device=device))
        return self._processes.sum(tokens).to(torch.float32)

    def _backward(self, micros: list[MicroBatch], rows: Sequence[EncodedRow], divisor: Tensor) -> tuple[Tensor, Tensor]:
        """Accumulate gradients; returns the summed `SUMS` and the largest deviation, on the device."""
        sums = torch.zeros(len(SUMS), dtype=torch.float64, device=self._processes.device)
        deviation = torch.zeros((), dtype=torch.float64, device=self._processes.device)
        self._weights.clear()
        idle = self._weights.idle_passes(lambda: len(micros))
        for micro in micros:
            with autocast(self._policy, self._processes.device):
                scores = self._objective.scores(self._policy.model, micro, rows)
            self.scaler.scale(scores.loss / divisor.to(scores.loss.dtype)).backward()
            sums += scores.sums
            deviation = torch.maximum(deviation, scores.deviation)
        for _ in range(idle):
            with autocast(self._policy, self._processes.device):
                nothing = self._objective.idle(self._policy.model)
            nothing.backward()
        return sums, deviation

    def _on_host(self, sums: Tensor, grad_norm: Tensor, stop: bool) -> tuple[dict[str, float], float, bool]:
        """The step's one wait for the device: the sums over all processes by name, the gradient norm, and whether any
        process is to stop."""
        asked = sums.new_tensor([float(stop), float(self._objective.to_share)])
        reduced = self._processes.sum(torch.cat([sums, asked]))
        *values, stops, shares, norm = torch.cat([reduced, grad_norm.double().view(1)]).tolist()
        if shares > 0:
            self._objective.share()
        return dict(zip(SUMS, values, strict=True)), norm, stops > 0

    def _update(self, loss: float, grad_norm: float, learning_rate: float) -> bool:
        """Apply the gradient; returns whether it was skipped because the loss scale was too high (fp16 only).

        Raises:
            RunError: the loss or gradient is not finite, with fp16 at any scale.
        """
        set_learning_rate(self._optimizer, learning_rate)
        if self.scaler.is_enabled() and math.isfinite(loss):
            self.scaler.step(self._optimizer)
            self.scaler.update()
            if math.isfinite(grad_norm):
                return False
            if self.scaler.get_scale() >= LEAST_SCALE:
                return True
        if not math.isfinite(loss) or not math.isfinite(grad_norm):
            raise RunError(
                f"The {'loss' if not math.isfinite(loss) else 'gradient'} is not a finite number any more.",
                "Lower learning_rate, or use precision=fp32; the last checkpoint is unharmed.",
            )
        self._optimizer.step()
        return False

    def _check_step_0(self, deviation: Tensor) -> None:
        worst = float(deviation)
        eight_bit = self._parameters.quantization == "8bit"
        if worst > (STEP_0_TOLERANCE_8BIT if eight_bit else STEP_0_TOLERANCE[self._precision]):
            raise RunError(
                f"Before the first update the model and its reference differ by {worst:.2g} of a log-prob, so the loss "
                "would not start at its known value (ln 2 for sigmoid) and the rewards not at 0.",
                "The reference is not the model that is being trained; clear the reference cache, or report this.",
            )
