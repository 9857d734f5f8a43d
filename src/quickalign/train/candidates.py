"""What the planner tries: token budgets, recomputed and kept activations, and the memory that each of them needs."""

from dataclasses import dataclass, replace

import numpy as np

from quickalign.core.hyperparameters import Hyperparameters
from quickalign.hub.shape import ModelShape
from quickalign.train.demand import Demand, Micro
from quickalign.train.device import ComputePrecision, Device, DeviceKind
from quickalign.train.memory import predict
from quickalign.train.scoring.reordered import can_reorder
from quickalign.train.scoring.sizes import filled
from quickalign.train.work import Work, measure_work, row_sizes

# Tokens per packed micro-batch on a CPU, or as many as the longest row has, which needs that memory anyway: the longer
# a micro-batch, the more rows share what they begin with. Measured at Qwen2-0.5B's shape, in fp32 on one core with AVX2
# and in bf16 on two with AVX512-BF16: beside that, a step takes as long with 256 as with 512 to within 2 %.
CPU_BUDGET = 384
# Where a row may be longer than that, in bf16: more tokens share what a product and a layer take to prepare. Measured
# in turn as above, rows of up to 488 tokens: a step takes 10 % less time with 1,024 than with 488 (8 rows; 12: 6 %),
# 3 to 7 % less than with 640, and 5 to 9 % less than with 2,048.
CPU_LONG_BUDGET = 1024
# A GPU wants thousands, and the smaller the model the more: a micro-batch must keep it busy for longer than the host
# takes to launch its kernels. Beyond that more tokens only take memory. Measured on an H100 at Qwen2-0.5B's shape: with
# 16,384 tokens 2.7 times as fast as with 4,096 where kernels are launched one by one; from CUDA graphs 343, 351, 397
# and 379 pairs/s with 16,384, 8,192, 4,096 and 2,048. With Qwen2-7B's shape 4,096 take 55 % of the chip's products.
GPU_BUDGETS = (16384, 8192, 4096, 2048, 1024, 512, 256)
GPU_BUSY, GPU_BUSY_BY_GRAPHS = 8e12, 2e12
"""Tokens times parameters of a micro-batch that keeps a GPU busy, kernel by kernel and from CUDA graphs."""
# With a dense mask most of attention's products are for nothing, and its share grows with the tokens: of a layer's
# FLOPs at Qwen2-0.5B's shape a fifth with 2,048 tokens, half with 8,192.
GPU_DENSE_BUDGETS = (2048, 1024, 512, 256)
# On a GPU, rather recompute activations than cut micro-batches smaller than this.
GPU_SMALL_BUDGET = 4096


@dataclass(frozen=True, slots=True)
class Situation:
    """What a run meets, whatever its options.

    Attributes:
        shape: of the base model.
        lengths: [rows, 2 or 3] tokens of the prompt and of each answer.
        device: where one process trains.
        world_size: processes of the run.
        pieces: into how many pieces over the processes each layer's weights are cut; 1 holds them whole.
        beginning: tokens that all prompts have in common from their start.
    """

    shape: ModelShape
    lengths: np.ndarray
    device: Device
    world_size: int
    pieces: int = 1
    beginning: int = 0


class Candidate:
    """Settings that were tried, with what they need.

    Attributes:
        token_budget: tokens per packed micro-batch; 0 for padded rows.
        parts: predicted bytes at the peak by part; `peak` is their sum.
    """

    def __init__(self, token_budget: int, demand: Demand, work: Work) -> None:
        self.token_budget = token_budget
        self.demand = demand
        self.work = work
        self.parts = predict(demand)
        self.peak = sum(self.parts.values())


def try_all(
    parameters: Hyperparameters, situation: Situation, precision: ComputePrecision, *, packing: bool, graphs: bool
) -> list[Candidate]:
    """The possible settings in the order of preference, with what each needs."""
    shape, kind = situation.shape, situation.device.kind
    candidates = _settings(parameters, situation, precision, packing=packing, graphs=graphs)
    works = {
        budget: measure_work(situation.lengths, parameters, situation.world_size, budget, situation.beginning)
        for budget in {budget for budget, _ in candidates}
    }
    tried = []
    for budget, checkpointing in candidates:
        work = works[budget]
        micro = _filled(work.largest, kind) if budget else work.largest
        demand = Demand(
            shape,
            parameters,
            precision,
            kind,
            micro,
            packing=budget > 0,
            checkpointing=checkpointing,
            pieces=situation.pieces,
            dense=situation.device.no_triton is not None,
        )
        tried.append(Candidate(budget, demand, work))
    return tried


def _filled(micro: Micro, kind: DeviceKind) -> Micro:
    positions, _, scored = filled(kind, micro.positions, micro.scored, micro.scored)
    return replace(micro, positions=positions, scored=scored)


def with_reordered(chosen: Candidate, world_size: int, room: float) -> Candidate:
    """`chosen` with its matrices as oneDNN multiplies them, where that can be, fits, and is little beside activations.

    That changes no bit of a result, so nobody is asked. With short rows it would be a third of all memory.
    """
    demand = chosen.demand
    plain = not demand.full and demand.parameters.quantization == "none" and not demand.parameters.use_dora
    alone = demand.device_kind == "cpu" and world_size == 1
    long = not demand.checkpointing and demand.micro.positions > CPU_BUDGET
    if not (plain and alone and long and demand.precision == "bf16" and can_reorder()):
        return chosen
    found = Candidate(chosen.token_budget, replace(demand, reordered=True), chosen.work)
    return found if found.peak <= room else chosen


def _settings(
    parameters: Hyperparameters, situation: Situation, precision: ComputePrecision, *, packing: bool, graphs: bool
) -> list[tuple[int, bool]]:
    """(token budget, checkpointing) in the order of preference; fixed where set by hand."""
    on_cpu = situation.device.kind == "cpu"
    budgets: tuple[int, ...] = (0,)
    if packing and parameters.token_budget:
        budgets = (parameters.token_budget,)
    elif packing:
        longest = int(row_sizes(situation.lengths).max())
        budgets = _cpu_budgets(longest, precision) if on_cpu else _gpu_budgets(situation, graphs)
    if parameters.gradient_checkpointing != "auto":
        return [(budget, parameters.gradient_checkpointing == "on") for budget in budgets]
    large = [budget for budget in budgets if on_cpu or budget >= min(GPU_SMALL_BUDGET, budgets[0])]
    return [(budget, False) for budget in large] + [(budget, True) for budget in budgets]


def _cpu_budgets(longest: int, precision: ComputePrecision) -> tuple[int, ...]:
    """The budgets for rows of at most `longest` tokens, the fastest first."""
    least = max(CPU_BUDGET, longest)
    return (CPU_LONG_BUDGET, least) if precision == "bf16" and CPU_BUDGET < longest < CPU_LONG_BUDGET else (least,)


def _gpu_budgets(situation: Situation, graphs: bool) -> tuple[int, ...]:
    """The budgets from the smallest on that keeps a GPU busy with the model."""
    if situation.device.no_triton:
        return GPU_DENSE_BUDGETS
    busy = GPU_BUSY_BY_GRAPHS if graphs else GPU_BUSY
    enough = [b for b in GPU_BUDGETS if b >= GPU_SMALL_BUDGET and b * situation.shape.parameters >= busy]
    first = min(enough, default=GPU_BUDGETS[0])
    return tuple(budget for budget in GPU_BUDGETS if budget <= first)
