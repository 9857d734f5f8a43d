"""The planner's choices: options left on auto get the value that suits the device, the model and the memory."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from quickalign.core.errors import OptionError
from quickalign.core.hyperparameters import Hyperparameters
from quickalign.hub.shape import ModelShape
from quickalign.train.decision import Decision
from quickalign.train.demand import Demand, Micro
from quickalign.train.device import ComputePrecision, Device, DeviceKind, resolve_precision
from quickalign.train.memory import predict
from quickalign.train.scoring.reordered import can_reorder
from quickalign.train.scoring.sizes import filled
from quickalign.train.work import Work, measure_work, row_sizes

# Tokens per packed micro-batch on a CPU, or as many as the longest row has, which needs that memory anyway: the longer
# a micro-batch, the more rows share what they begin with. Measured at Qwen2-0.5B's shape, in fp32 on one core with AVX2
# and in bf16 on two with AVX512-BF16: beside that, a step takes as long with 256 as with 512 to within 2 %.
CPU_BUDGET = 384
# A GPU wants thousands, and the smaller the model the more: a micro-batch must keep it busy for longer than the host
# takes to launch its kernels. Beyond that more tokens only take memory. Measured on an H100 at Qwen2-0.5B's shape: with
# 16,384 tokens 2.7 times as fast as with 4,096 where kernels are launched one by one; from CUDA graphs 343, 351, 397
# and 379 pairs/s with 16,384, 8,192, 4,096 and 2,048. With Qwen2-7B's shape 4,096 take 55 % of the chip's products.
GPU_BUDGETS = (16384, 8192, 4096, 2048, 1024)
GPU_BUSY, GPU_BUSY_BY_GRAPHS = 8e12, 2e12
"""Tokens times parameters of a micro-batch that keeps a GPU busy, kernel by kernel and from CUDA graphs."""
# On a GPU, rather recompute activations than cut micro-batches smaller than this.
GPU_SMALL_BUDGET = 4096
# Choices leave this share of the memory free: a prediction may be off, and others use the machine too.
HEADROOM = 0.1

ReferenceChoice = Literal["live", "cached", "none"]


@dataclass(frozen=True, slots=True)
class Situation:
    """What a run meets: the model's shape, the rows' [rows, parts] lengths, the device, the number of processes, into
    how many pieces each layer's weights are cut, and with how many tokens all prompts begin alike."""

    shape: ModelShape
    lengths: np.ndarray
    device: Device
    world_size: int
    pieces: int = 1
    beginning: int = 0


@dataclass(frozen=True, slots=True)
class Settled:
    """Options with nothing left on auto, and what follows from them.

    Attributes:
        token_budget: 0 for padded rows.
        graphs: whether packed passes are recorded as CUDA graphs.
        reordered: whether adapted matrices lie as oneDNN multiplies them.
        parts: predicted bytes at the peak by part.
    """

    precision: ComputePrecision
    token_budget: int
    checkpointing: bool
    graphs: bool
    reordered: bool
    reference: ReferenceChoice
    work: Work
    parts: dict[str, int]
    decisions: tuple[Decision, ...]

    @property
    def peak(self) -> int:
        """Predicted peak in bytes."""
        return sum(self.parts.values())


def settle(parameters: Hyperparameters, situation: Situation) -> Settled:
    """Choose what was left on auto: the first of the possible settings that fits, else the one that needs least.

    Raises:
        OptionError: an option that was set by hand cannot be honoured for this model or on this device.
    """
    precision = resolve_precision(parameters.precision, situation.device)
    decisions = _precision_decision(parameters, precision, situation.device)
    obstacle = _packing_obstacle(parameters, situation.shape)
    if parameters.packing == "auto":
        reason = obstacle or "what rows begin with alike is computed once, nothing is padded; the gradient is the same"
        decisions.append(Decision("packing", "off" if obstacle else "on", reason))
    packing = parameters.packing != "off" and obstacle is None
    graphs = _graphs(parameters, situation, packing=packing)
    candidates = _candidates(parameters, situation, packing=packing, graphs=graphs)
    tried = _try(parameters, situation, precision, candidates, graphs=graphs)
    room = (1 - HEADROOM) * situation.device.available_bytes
    chosen = next((one for one in tried if one.peak <= room), min(tried, key=lambda one: one.peak))
    chosen = _reordered(chosen, situation.world_size, room)
    if packing and not parameters.token_budget:
        first = chosen.token_budget == tried[0].token_budget
        decisions.append(_budget_decision(chosen.token_budget, situation.device, first=first))
    if parameters.gradient_checkpointing == "auto":
        without = min(one.peak for one in tried if not one.demand.checkpointing)
        decisions.append(_checkpointing_decision(chosen.demand.checkpointing, without))
    if graphs and parameters.cuda_graphs == "auto":
        decisions.append(Decision("cuda_graphs", "on", "a GPU runs most kernels faster than they can be launched"))
    reference = _reference(parameters)
    if reference != "none" and parameters.reference == "auto":
        decisions.append(_reference_decision(reference, parameters))
    return Settled(
        precision=precision,
        token_budget=chosen.token_budget,
        checkpointing=chosen.demand.checkpointing,
        graphs=graphs,
        reordered=chosen.demand.reordered,
        reference=reference,
        work=chosen.work,
        parts=chosen.parts,
        decisions=tuple(decisions),
    )


class _Candidate:
    """Settings that were tried, with what they need."""

    def __init__(self, token_budget: int, demand: Demand, work: Work) -> None:
        self.token_budget = token_budget
        self.demand = demand
        self.work = work
        self.parts = predict(demand)
        self.peak = sum(self.parts.values())


def _try(
    parameters: Hyperparameters,
    situation: Situation,
    precision: ComputePrecision,
    candidates: list[tuple[int, bool]],
    *,
    graphs: bool,
) -> list[_Candidate]:
    """Predict the memory of each (token budget, checkpointing)."""
    shape, kind = situation.shape, situation.device.kind
    works = {
        budget: measure_work(situation.lengths, parameters, situation.world_size, budget, situation.beginning)
        for budget in {budget for budget, _ in candidates}
    }
    tried = []
    for budget, checkpointing in candidates:
        work = works[budget]
        micro = _filled(work.largest, kind) if budget else work.largest
        demand = Demand(
            shape, parameters, precision, kind, micro, budget > 0, checkpointing, situation.pieces, graphs=graphs
        )
        tried.append(_Candidate(budget, demand, work))
    return tried


def _filled(micro: Micro, kind: DeviceKind) -> Micro:
    positions, _, scored = filled(kind, micro.positions, micro.scored, micro.scored)
    return replace(micro, positions=positions, scored=scored)


def _reordered(chosen: _Candidate, world_size: int, room: float) -> _Candidate:
    """`chosen` with its matrices as oneDNN multiplies them, where that can be, fits, and is little beside activations.

    That changes no bit of a result, so nobody is asked. With short rows it would be a third of all memory.
    """
    demand = chosen.demand
    plain = not demand.full and demand.parameters.quantization == "none" and not demand.parameters.use_dora
    alone = demand.device_kind == "cpu" and world_size == 1
    long = not demand.checkpointing and demand.micro.positions > CPU_BUDGET
    if not (plain and alone and long and demand.precision == "bf16" and can_reorder()):
        return chosen
    found = _Candidate(chosen.token_budget, replace(demand, reordered=True), chosen.work)
    return found if found.peak <= room else chosen


def _candidates(
    parameters: Hyperparameters, situation: Situation, *, packing: bool, graphs: bool
) -> list[tuple[int, bool]]:
    """(token budget, checkpointing) in the order of preference; fixed where set by hand."""
    budgets: tuple[int, ...] = (0,)
    if packing:
        longest = int(row_sizes(situation.lengths).max())
        on_cpu = situation.device.kind == "cpu"
        chosen = (max(CPU_BUDGET, longest),) if on_cpu else _gpu_budgets(situation.shape, graphs)
        budgets = (parameters.token_budget,) if parameters.token_budget else chosen
    if parameters.gradient_checkpointing != "auto":
        return [(budget, parameters.gradient_checkpointing == "on") for budget in budgets]
    large = [budget for budget in budgets if len(budgets) == 1 or budget >= GPU_SMALL_BUDGET]
    return [(budget, False) for budget in large] + [(budget, True) for budget in budgets]


def _gpu_budgets(shape: ModelShape, graphs: bool) -> tuple[int, ...]:
    """The budgets from the smallest on that keeps a GPU busy with a model of `shape`."""
    busy = GPU_BUSY_BY_GRAPHS if graphs else GPU_BUSY
    enough = [b for b in GPU_BUDGETS if b >= GPU_SMALL_BUDGET and b * shape.parameters >= busy]
    first = min(enough, default=GPU_BUDGETS[0])
    return tuple(budget for budget in GPU_BUDGETS if budget <= first)


def _graphs(parameters: Hyperparameters, situation: Situation, *, packing: bool) -> bool:
    """Whether packed passes are recorded as CUDA graphs.

    Raises:
        OptionError: they were asked for and are not possible.
    """
    obstacles = {
        f"{situation.device.name} is no CUDA device": situation.device.kind != "cuda",
        "padded rows are not recorded": not packing,
        "only an adapter's passes are recorded, and lora_dim=0 trains all weights": parameters.lora_dim == 0,
        "dropout draws random numbers": parameters.lora_dropout > 0,
        "in 8 bits, what is computed depends on the activations": parameters.quantization == "8bit",
        "weights in pieces are put together while a pass runs": situation.pieces > 1,
    }
    found = [reason for reason, holds in obstacles.items() if holds]
    if found and parameters.cuda_graphs == "on":
        raise OptionError(f"cuda_graphs='on' is not possible: {found[0]}.", "Set cuda_graphs to auto or off.")
    return not found and parameters.cuda_graphs != "off"


def _packing_obstacle(parameters: Hyperparameters, shape: ModelShape) -> str | None:
    if shape.full_attention:
        return None
    kind = next(kind for kind in shape.attention if kind != "full")
    obstacle = f"{shape.architecture} has layers of {kind} attention, which take no mask of packed rows"
    if parameters.packing == "on":
        raise OptionError(f"packing='on' is not possible: {obstacle}.", "Set packing to auto or off.")
    return obstacle


def _precision_decision(parameters: Hyperparameters, precision: ComputePrecision, device: Device) -> list[Decision]:
    if parameters.precision != "auto":
        return []
    if precision == "bf16":
        reason = f"{device.name} multiplies bf16 itself, much faster than fp32"
    elif precision == "fp16":
        reason = f"{device.name} has no bf16; losses are scaled, and adapters stay fp32"
    else:
        reason = f"{device.name} would only emulate bf16"
    return [Decision("precision", precision, reason)]


def _budget_decision(budget: int, device: Device, *, first: bool) -> Decision:
    if device.kind == "cpu":
        longer = "as many as the longest row has, which needs that memory anyway"
        reason = "a CPU is busy with a few hundred tokens at once" if budget == CPU_BUDGET else longer
        return Decision("token_budget", str(budget), reason)
    reason = "keeps the GPU busy" if first else "the largest that fits into the memory there is"
    return Decision("token_budget", str(budget), reason)


def _checkpointing_decision(checkpointing: bool, without: int) -> Decision:
    if checkpointing:
        reason = f"without it the run would need {without / 1e9:.2f} GB, which is too near to what there is"
        return Decision("gradient_checkpointing", "on", reason)
    return Decision("gradient_checkpointing", "off", "activations fit, and recomputing them would take time")


def _reference(parameters: Hyperparameters) -> ReferenceChoice:
    if parameters.reference_free:
        return "none"
    if parameters.lora_dim == 0:
        if parameters.reference == "live":
            raise OptionError(
                "reference='live' is not possible with lora_dim=0: training changes the very weights it would need.",
                "Set reference to auto or cached, or lora_dim above 0.",
            )
        return "cached"
    return "cached" if parameters.reference == "auto" else parameters.reference


def _reference_decision(reference: ReferenceChoice, parameters: Hyperparameters) -> Decision:
    if parameters.lora_dim == 0:
        reason = "full fine-tuning changes the reference's weights, so its log-probs are computed first"
    else:
        reason = "a row's reference log-probs are computed once, for all epochs and for later runs with other settings"
    return Decision("reference", reference, reason)
