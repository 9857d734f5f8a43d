"""What a run will need and do, known before any weights are loaded."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from quickalign.core.errors import CapacityError
from quickalign.core.spec import RunSpec
from quickalign.hub.shape import ModelShape
from quickalign.train.candidates import Situation
from quickalign.train.decision import Decision, Suggestion
from quickalign.train.device import ComputePrecision, Device, DeviceKind
from quickalign.train.disk import disk_bytes, room_bytes
from quickalign.train.settle import ReferenceChoice, settle
from quickalign.train.suggest import suggest


@dataclass(frozen=True, slots=True)
class Plan:
    """A run's memory, work and automatic choices; `to_json` gives it as plain values.

    Attributes:
        device: name of the device.
        device_kind: cpu or cuda.
        precision: what is computed in.
        method: full, lora, qlora-4bit or qlora-8bit.
        world_size: processes of the run.
        rows: training rows (pairs, or samples for sft).
        rows_per_step: rows per optimiser step, over all processes.
        steps: optimiser steps of the whole run.
        micro_batches_per_step: mean forward and backward passes per optimiser step and process.
        tokens_per_epoch: tokens of all rows, the prompt counted once a row.
        computed_tokens_per_epoch: tokens that go through the model per epoch, with repeated prompts and padding.
        packing: whether rows are packed and share what they begin with, or padded.
        token_budget: tokens per packed micro-batch; 0 for padded rows.
        gradient_checkpointing: whether activations are recomputed.
        cuda_graphs: whether packed passes are recorded as CUDA graphs.
        reordered_weights: whether large frozen matrices lie as oneDNN multiplies them; changes no result.
        reference: live or cached; none where the objective needs no reference.
        decisions: the automatic choices among these, with their reasons.
        parts: predicted bytes at the peak by part; they sum to the predicted peak.
        predicted_peak_bytes: peak of one process.
        available_bytes: memory there is for one process.
        disk_bytes: what checkpoints, adapter and caches will take.
        disk_free_bytes: what is free where the output goes.
        suggestions: settings that would fit; empty where the plan does.
        seconds: time still needed; None until steps were measured.
    """

    device: str
    device_kind: DeviceKind
    precision: ComputePrecision
    method: str
    world_size: int
    rows: int
    rows_per_step: int
    steps: int
    micro_batches_per_step: float
    tokens_per_epoch: int
    computed_tokens_per_epoch: int
    packing: bool
    token_budget: int
    gradient_checkpointing: bool
    cuda_graphs: bool
    reordered_weights: bool
    reference: ReferenceChoice
    decisions: tuple[Decision, ...]
    parts: dict[str, int]
    predicted_peak_bytes: int
    available_bytes: int
    disk_bytes: int
    disk_free_bytes: int
    suggestions: tuple[Suggestion, ...] = ()
    seconds: float | None = None

    @property
    def fits(self) -> bool:
        """Whether memory and disk both suffice."""
        return self.predicted_peak_bytes <= self.available_bytes and self.disk_bytes <= self.disk_free_bytes

    def to_json(self) -> dict[str, Any]:
        """The plan as values that JSON can hold, `fits` included."""
        return asdict(self) | {"fits": self.fits}


def with_speed(plan: Plan, seconds_per_step: float, steps_done: int) -> Plan:
    """The plan with the time still needed, from measured steps."""
    return replace(plan, seconds=max(plan.steps - steps_done, 0) * seconds_per_step)


def make_plan(
    spec: RunSpec, shape: ModelShape, lengths: np.ndarray, device: Device, *, world_size: int = 1, beginning: int = 0
) -> Plan:
    """Plan `spec` for a model of `shape`; needs no weights.

    Args:
        spec: the run.
        shape: the base model's dimensions.
        lengths: [rows, 3] tokens of prompt, chosen and rejected answer, or [rows, 2] of prompt and response.
        device: where one process of the run trains.
        world_size: how many processes share every optimiser batch.
        beginning: tokens that all prompts have in common from their start.

    Raises:
        OptionError: an option that was set by hand cannot be honoured on this device or for this model.
    """
    parameters = spec.hyperparameters
    pieces = world_size if spec.strategy == "fsdp2" else 1
    situation = Situation(shape, lengths, device, world_size, pieces, beginning)
    settled = settle(parameters, situation)
    fits = settled.peak <= device.available_bytes
    return Plan(
        device=device.name,
        device_kind=device.kind,
        precision=settled.precision,
        method=parameters.method,
        world_size=world_size,
        rows=settled.work.rows,
        rows_per_step=settled.work.rows_per_step,
        steps=settled.work.steps,
        micro_batches_per_step=settled.work.micro_batches_per_step,
        tokens_per_epoch=settled.work.tokens_per_epoch,
        computed_tokens_per_epoch=settled.work.computed_tokens_per_epoch,
        packing=settled.token_budget > 0,
        token_budget=settled.token_budget,
        gradient_checkpointing=settled.checkpointing,
        cuda_graphs=settled.graphs,
        reordered_weights=settled.reordered,
        reference=settled.reference,
        decisions=settled.decisions,
        parts=settled.parts,
        predicted_peak_bytes=settled.peak,
        available_bytes=device.available_bytes,
        disk_bytes=disk_bytes(spec, shape, settled),
        disk_free_bytes=room_bytes(spec.output),
        suggestions=() if fits else suggest(spec.model, parameters, situation),
    )


def ensure_fits(plan: Plan) -> None:
    """Refuse a plan that does not fit.

    Raises:
        CapacityError: memory or disk do not suffice; the remedy lists settings that would fit.
    """
    if plan.predicted_peak_bytes > plan.available_bytes:
        raise CapacityError(
            f"This run needs about {_gb(plan.predicted_peak_bytes)} of memory, and {plan.device} has "
            f"{_gb(plan.available_bytes)} for it.",
            _remedy(plan),
        )
    if plan.disk_bytes > plan.disk_free_bytes:
        raise CapacityError(
            f"This run writes up to {_gb(plan.disk_bytes)}, and {_gb(plan.disk_free_bytes)} are free at its output.",
            "Name an --output with more room, or set save_total_limit=1.",
        )


def _remedy(plan: Plan) -> str:
    if not plan.suggestions:
        return "No setting was found that would fit; take a smaller model or a larger machine."
    settings = [
        f"{' '.join(f'{name}={value}' for name, value in s.settings.items())} ({_gb(s.predicted_peak_bytes)})"
        for s in plan.suggestions
    ]
    return f"These settings would fit: {'; '.join(settings)}."


def _gb(size: int) -> str:
    return f"{size / 1e9:.2f} GB"
