"""The peak memory of a run, part by part, from the model's shape alone.

Peaks come at three moments: when the base is loaded, in the middle of a micro-batch, and when a checkpoint is written.
Each is a sum of parts; the highest one is the run's. The formulas count the tensors that are alive; the few constants
that no formula gives were measured, and say so. Pages of the weights file that are only read to make the base from are
not counted: the system drops them when memory is short.
"""

from collections.abc import Mapping

from quickalign.core.hyperparameters import Quantization
from quickalign.hub.shape import DTYPE_BYTES
from quickalign.train.activations import head_bytes, kept_bytes, mask_bytes, working_bytes
from quickalign.train.demand import Demand
from quickalign.train.scoring.reordered import LEAST

# Measured on Linux, x86-64: Python with all libraries loaded and used once, tokenizer, data and metrics open.
CPU_RUNTIME = 520 << 20
# cuBLAS and cuDNN workspaces, which PyTorch's allocator holds. The CUDA context is outside of what a device has free.
CUDA_RUNTIME = 128 << 20
# How much more memory glibc's malloc takes than the activations and working memory in it, because freed pieces do not
# fit the next ones; measured. A quantised base unpacks its weights between activations, which makes it worse.
CPU_FRAGMENTATION: Mapping[Quantization, float] = {"none": 0.35, "4bit": 0.65, "8bit": 1.1}
NF4_BLOCK = 64
NF4_NESTED_BLOCK = 256
_TABLE_BYTES = 4 * (16 + 256 + 1)  # per 4-bit matrix: the NF4 code, the 8-bit code of its scales, their offset


def predict(demand: Demand) -> dict[str, int]:
    """Bytes by part at the moment of the highest peak; the parts' sum is the predicted peak."""
    moments = [_loading(demand), _micro_batch(demand), _saving(demand)]
    if demand.pieces > 1:
        moments.append(_whole_again(demand))
    return max(moments, key=lambda parts: sum(parts.values()))


def base_bytes(demand: Demand) -> int:
    """The base as it lies in memory; 4 and 8 bits are for the linear layers. Beside them the embedding stays
    as it is stored where that is narrower (`train.narrow`), and all else has the compute precision.

    NF4 with double quantisation (Dettmers et al. 2023, section 3): 4 bits a weight, an 8-bit scale for 64 weights, an
    fp32 scale for 256 of those. LLM.int8 (Dettmers et al. 2022): 8 bits a weight and an fp32 scale an output.
    """
    shape = demand.shape
    if demand.full:
        return 4 * shape.parameters
    if demand.parameters.quantization == "none":
        return demand.compute_bytes * shape.parameters
    stored = 0
    for inputs, outputs in shape.projections.values():
        weights = inputs * outputs
        if demand.parameters.quantization == "8bit":
            stored += weights + 4 * outputs
        else:
            scales = weights // NF4_BLOCK
            stored += weights // 2 + scales + 4 * (scales // NF4_NESTED_BLOCK) + _TABLE_BYTES
    narrow = min(demand.compute_bytes, DTYPE_BYTES[shape.dtype]) * shape.embedding_parameters
    others = shape.parameters - shape.linear_parameters - shape.embedding_parameters
    return shape.layers * stored + narrow + demand.compute_bytes * others


def reordered_bytes(demand: Demand) -> int:
    """What large adapted matrices take more where they lie as they are multiplied, once for each direction."""
    sizes = [inputs * outputs for inputs, outputs in demand.adapted.values()]
    return demand.compute_bytes * demand.shape.layers * sum(size for size in sizes if size >= LEAST)


def optimizer_bytes(demand: Demand) -> int:
    """AdamW's two moments: fp32, or 8 bits with an fp32 scale for 256 of them (Dettmers et al. 2021)."""
    per_parameter = 8.0 if demand.parameters.optimizer == "adamw" else 2 * (1 + 4 / 256)
    return int(per_parameter * demand.trained_parameters)


def _resident(demand: Demand) -> dict[str, int]:
    """What is there from the first update to the end."""
    trained = demand.trained_parameters
    parts = _weights(demand)
    parts["optimizer"] = _held(demand, optimizer_bytes(demand))
    parts["gradients"] = _held(demand, 4 * trained)
    return parts


def _weights(demand: Demand) -> dict[str, int]:
    parts = {"runtime": CPU_RUNTIME if demand.device_kind == "cpu" else CUDA_RUNTIME}
    inside = (4 if demand.full else demand.compute_bytes) * demand.shape.linear_parameters
    whole = base_bytes(demand)
    parts["base weights"] = whole if demand.pieces == 1 else whole - inside + inside // demand.pieces
    if demand.reordered:
        parts["matrices the other way round"] = reordered_bytes(demand)
    if not demand.full:
        parts["adapter"] = _held(demand, 4 * demand.trained_parameters)
    return parts


def _held(demand: Demand, trained: int) -> int:
    """What one process holds of `trained` bytes that lie as the trained weights do; only layers are cut into pieces."""
    if not demand.full:
        return trained // demand.pieces
    inside = trained * demand.shape.linear_parameters // demand.shape.parameters
    return trained - inside + inside // demand.pieces


def _put_together(demand: Demand) -> int:
    """Layers that are whole for a moment: the one at work, the next one, and the message they come in; with all weights
    trained also a layer's gradient and the message that it goes in."""
    if demand.pieces == 1:
        return 0
    layer = demand.shape.linear_parameters // demand.shape.layers
    return layer * (3 * 4 + 2 * 4 if demand.full else 3 * demand.compute_bytes)


def _loading(demand: Demand) -> dict[str, int]:
    """The base, and the largest matrix on its way to it, once as stored and once in fp32."""
    parts = {"runtime": _weights(demand)["runtime"], "base weights": base_bytes(demand)}
    largest = max(inputs * outputs for inputs, outputs in demand.shape.projections.values())
    largest = max(largest, demand.shape.vocab * demand.shape.hidden)
    return parts | {"conversion": largest * (4 + DTYPE_BYTES[demand.shape.dtype])}


def _micro_batch(demand: Demand) -> dict[str, int]:
    """At the end of a forward pass: what is kept for the backward pass, and the head or a layer at work on top."""
    parts = _resident(demand)
    kept = kept_bytes(demand) + mask_bytes(demand)
    work = max(head_bytes(demand), working_bytes(demand))
    parts["activations"] = kept
    parts["head and working memory"] = work
    if together := _put_together(demand):
        parts["layers put together"] = together
    if demand.device_kind == "cpu":
        parts["fragmentation"] = int(CPU_FRAGMENTATION[demand.parameters.quantization] * (kept + work))
    return parts


def _saving(demand: Demand) -> dict[str, int]:
    """The optimiser's state is copied before it is written; on a GPU the copy is in the machine's memory.

    What fragmentation took in the step before is still taken.
    """
    if demand.device_kind == "cuda":
        return _resident(demand)
    left = _micro_batch(demand)["fragmentation"]
    copied = optimizer_bytes(demand)
    if demand.pieces > 1:  # the main process puts weights and state together
        copied += _held(demand, copied) + 4 * demand.trained_parameters
    return _resident(demand) | {"checkpoint": copied, "fragmentation": left}


def _whole_again(demand: Demand) -> dict[str, int]:
    """At the end the main process loads the whole model, beside its pieces, to answer and to measure."""
    loading = _loading(demand)
    adapter = 0 if demand.full else 4 * demand.trained_parameters
    return _weights(demand) | {"the whole model": loading["base weights"] + loading["conversion"] + adapter}
