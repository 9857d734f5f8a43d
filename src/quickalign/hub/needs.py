"""The GPU memory a model needs, by method, for a card: a formula over its shape at the default options.

It answers "which card do I need" before anything is fetched. What one run on one machine needs is the planner's
answer, which knows the data, the options and the device.

With P parameters, of which L in the layers' linear projections, and A in a LoRA adapter of rank 32 on all of those
(r * (inputs + outputs) per projection), in bytes:

    full        16 P                      fp32 weights, gradients and AdamW's two moments, 4 bytes each
    lora         2 P             + 16 A   16-bit base; the adapter as above
    qlora-8bit   1 L + 2 (P - L) + 16 A   plus one projection unpacked to 16 bits
    qlora-4bit 4.127/8 L + 2 (P - L) + 16 A   NF4 with double quantisation: 4 + 8/64 + 32/(64 * 256) bits a weight

plus activations of one pair with gradient checkpointing, T = 2 * seq_length tokens: the input of each layer (2 T h
bytes a layer), one layer recomputed (2 T bytes for each of 8 h and 4 i values), and the logits with their gradient in
fp32 (8 T V). Last, 1.5 GB for the CUDA context, its libraries and fragmentation.
"""

from collections.abc import Mapping
from math import ceil
from types import MappingProxyType

from quickalign.core.hyperparameters import Hyperparameters, Method
from quickalign.hub.shape import ModelShape

METHODS: tuple[Method, ...] = ("full", "lora", "qlora-8bit", "qlora-4bit")

_DEFAULTS = Hyperparameters()
_NF4_BYTES = (4 + 8 / 64 + 32 / (64 * 256)) / 8
_TRAINED_BYTES = 16
_OVERHEAD_BYTES = 1.5e9


def gpu_memory(shape: ModelShape) -> Mapping[Method, float]:
    """The needed GPU memory by method, in GB (10^9 bytes), rounded up to a tenth."""
    shared = activation_bytes(shape, 2 * _DEFAULTS.seq_length) + _OVERHEAD_BYTES
    unpacked = 2 * shape.hidden * shape.intermediate
    linear, rest = shape.linear_parameters, shape.parameters - shape.linear_parameters
    adapter = _TRAINED_BYTES * adapter_parameters(shape, _DEFAULTS.lora_dim)
    needed: dict[Method, float] = {
        "full": _TRAINED_BYTES * shape.parameters,
        "lora": 2 * shape.parameters + adapter,
        "qlora-8bit": linear + 2 * rest + adapter + unpacked,
        "qlora-4bit": _NF4_BYTES * linear + 2 * rest + adapter + unpacked,
    }
    return MappingProxyType({method: ceil((size + shared) / 1e8) / 10 for method, size in needed.items()})


def adapter_parameters(shape: ModelShape, rank: int) -> int:
    """The number of weights of a LoRA adapter of `rank` on every linear projection of every layer."""
    return shape.layers * rank * sum(inputs + outputs for inputs, outputs in shape.projections.values())


def activation_bytes(shape: ModelShape, tokens: int) -> int:
    """Activations of one micro-batch of `tokens` with gradient checkpointing, in bytes."""
    checkpoints = 2 * tokens * shape.hidden * shape.layers
    layer = 2 * tokens * (8 * shape.hidden + 4 * shape.intermediate)
    return checkpoints + layer + 8 * tokens * shape.vocab
