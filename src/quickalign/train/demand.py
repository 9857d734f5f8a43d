"""What the memory of a run depends on."""

from dataclasses import dataclass

from quickalign.core.hyperparameters import Hyperparameters
from quickalign.hub.shape import ModelShape
from quickalign.train.device import ComputePrecision, DeviceKind
from quickalign.train.targets import ALL, names_of

_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
# Whose norms and feed-forward parts `scoring.fused` is known to switch; of others the larger need is reckoned.
_FUSED = ("Llama", "Mistral", "Qwen2", "Qwen3")


@dataclass(frozen=True, slots=True)
class Micro:
    """The largest micro-batch of a run.

    Attributes:
        positions: tokens that go through the model, padding included.
        scored: tokens of answers among them, each of which gets a log-prob.
        width: length of its padded rows; 0 where it is packed.
    """

    positions: int
    scored: int
    width: int = 0


@dataclass(frozen=True, slots=True)
class Demand:
    """A run, as far as its memory depends on it.

    Attributes:
        micro: the largest micro-batch.
        packing: whether micro-batches are packed and scored by the one-pass head.
        checkpointing: whether activations are recomputed.
        pieces: into how many pieces over the processes the layers' weights are cut; 1 holds them whole.
        dense: whether packed rows attend by a dense mask, and nothing is compiled: GPUs without Triton.
        reordered: whether adapted matrices lie as oneDNN multiplies them, once a direction (`scoring.reordered`).
    """

    shape: ModelShape
    parameters: Hyperparameters
    precision: ComputePrecision
    device_kind: DeviceKind
    micro: Micro
    packing: bool
    checkpointing: bool
    pieces: int = 1
    dense: bool = False
    reordered: bool = False

    @property
    def compute_bytes(self) -> int:
        """Bytes of a number in the compute precision."""
        return _BYTES[self.precision]

    @property
    def full(self) -> bool:
        """Whether all weights are trained: kept in fp32, computed under autocast."""
        return self.parameters.lora_dim == 0

    @property
    def fused(self) -> bool:
        """Whether norms and feed-forward parts keep as little as `scoring.fused` lets them."""
        return not self.full and self.shape.architecture.startswith(_FUSED)

    @property
    def adapted(self) -> dict[str, tuple[int, int]]:
        """(inputs, outputs) of the projections of a layer that get LoRA."""
        return adapted(self.shape, self.parameters)

    @property
    def trained_parameters(self) -> int:
        """How many parameters are trained."""
        return self.shape.parameters if self.full else adapter_parameters(self.shape, self.parameters)


def adapted(shape: ModelShape, parameters: Hyperparameters) -> dict[str, tuple[int, int]]:
    """The projections that get LoRA."""
    every, names = shape.projections, names_of(parameters)
    return every if names == [ALL] else {name: size for name, size in every.items() if name in names}


def adapter_parameters(shape: ModelShape, parameters: Hyperparameters) -> int:
    """Parameters of the adapter: r * (inputs + outputs) a matrix (Hu et al. 2021).

    DoRA (Liu et al. 2024) adds a magnitude for each output.
    """
    sizes = adapted(shape, parameters).values()
    weights = sum(parameters.lora_dim * (inputs + outputs) for inputs, outputs in sizes)
    magnitudes = sum(outputs for _, outputs in sizes) if parameters.use_dora else 0
    return shape.layers * (weights + magnitudes)
