"""The planner's choices: options left on auto get the value that suits the device, the model and the memory."""

from dataclasses import dataclass
from typing import Literal

import torch

from quickalign.core.errors import OptionError
from quickalign.core.hyperparameters import Hyperparameters
from quickalign.hub.shape import ModelShape
from quickalign.train.candidates import CPU_BUDGET, CPU_LONG_BUDGET, Situation, try_all, with_reordered
from quickalign.train.decision import Decision
from quickalign.train.device import ComputePrecision, Device, resolve_precision
from quickalign.train.gpus import BUILDS
from quickalign.train.work import Work

# Choices leave this share of the memory free: a prediction may be off, and others use the machine too.
HEADROOM = 0.1

ReferenceChoice = Literal["live", "cached", "none"]


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
    _check_optimizer(parameters, situation.device)
    decisions = [*_device_decisions(situation.device), *_precision_decision(parameters, precision, situation.device)]
    obstacle = _packing_obstacle(parameters, situation.shape)
    if parameters.packing == "auto":
        reason = obstacle or "what rows begin with alike is computed once, nothing is padded; the gradient is the same"
        decisions.append(Decision("packing", "off" if obstacle else "on", reason))
    packing = parameters.packing != "off" and obstacle is None
    graphs = _graphs(parameters, situation, packing=packing)
    tried = try_all(parameters, situation, precision, packing=packing, graphs=graphs)
    room = (1 - HEADROOM) * situation.device.available_bytes
    chosen = next((one for one in tried if one.peak <= room), min(tried, key=lambda one: one.peak))
    chosen = with_reordered(chosen, situation.world_size, room)
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


def _check_optimizer(parameters: Hyperparameters, device: Device) -> None:
    if parameters.optimizer == "paged_adamw_8bit" and device.kind != "cuda":
        raise OptionError(
            f"optimizer='paged_adamw_8bit' pages states to and from a CUDA device, and {device.name} is none.",
            "Use optimizer='adamw_8bit' or 'adamw'.",
        )


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
    refuse_padded(parameters, obstacle)
    return obstacle


def refuse_padded(parameters: Hyperparameters, obstacle: str) -> None:
    """Refuse padded rows, which `obstacle` is the reason for, where packed ones were asked for.

    Raises:
        OptionError: packing is on, or a token budget was set, which padded rows have none of.
    """
    if parameters.packing == "on":
        raise OptionError(f"packing='on' is not possible: {obstacle}.", "Set packing to auto or off.")
    if parameters.token_budget:
        raise OptionError(
            f"token_budget={parameters.token_budget} has no effect on padded rows, and rows cannot be packed: "
            f"{obstacle}.",
            "Leave token_budget out.",
        )


def _device_decisions(device: Device) -> list[Decision]:
    if device.passed_over:
        reason = f"PyTorch {torch.__version__} cannot use this machine's NVIDIA GPU: {device.passed_over}; {BUILDS}"
        return [Decision("device", "cpu", reason)]
    if device.no_triton:
        reason = f"{device.no_triton}; so packed rows are attended to with a dense mask, and smaller micro-batches"
        return [Decision("compiled kernels", "off", reason)]
    return []


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
        reasons = {
            CPU_BUDGET: "a CPU is busy with a few hundred tokens at once",
            CPU_LONG_BUDGET: "rows are long, and more of them at once share what a product takes to prepare",
        }
        longer = "as many as the longest row has, which needs that memory anyway"
        return Decision("token_budget", str(budget), reasons.get(budget, longer))
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
