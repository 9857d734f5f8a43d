"""LoRA layers that cast the small matrices instead of the activations.

PEFT keeps its adapters in fp32 and, for a bf16 base, casts every layer's input to fp32, multiplies in fp32 and casts
the sum back. Here A and B are cast to the dtype of the activations (a few rows each), the low-rank product is added
within the same function, and the gradients land in the fp32 masters (Hu et al. 2021, eq. 3: y = W x + s B A x). In fp32
and fp64 the result is PEFT's. Anything but one plain active adapter is left to PEFT, and what is saved is in PEFT's
layout.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F
from peft import LoraConfig
from peft.import_utils import is_bnb_available
from peft.tuners.lora import Linear as PeftLinear
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from quickalign.train.scoring.compiled import one_kernel, wide_mm
from quickalign.train.scoring.reordered import ReorderedLinear


def use_fast_lora(config: LoraConfig) -> None:
    """Let `config` make the layers of this module for linear, 8-bit and 4-bit layers; DoRA keeps PEFT's own."""
    if config.use_dora:
        return
    layers: dict[type[nn.Module], type[nn.Module]] = {}
    if is_bnb_available():
        # Before nn.Linear, which they derive from: the first match is taken.
        bnb = import_module("bitsandbytes.nn")
        layers = dict(zip((bnb.Linear4bit, bnb.Linear8bitLt), _quantized_layers(), strict=True))
    config._register_custom_module(layers | {nn.Linear: FastLinear})


class FastForward:
    """The forward pass that the layers below share; falls back to PEFT's for whatever is not plain."""

    def forward(self, x: Tensor, *args: Any, made_of: "Gated | None" = None, **kwargs: Any) -> Tensor:
        """As PEFT's: [..., in] -> [..., out]. What `x` was made of, if anything, is kept in its place."""
        assert isinstance(self, LoraLayer)
        if args or kwargs or not _is_plain(self):
            return super().forward(x, *args, **kwargs)  # type: ignore[misc, no-any-return]
        name = self.active_adapters[0]
        a, b, scale = self.lora_A[name].weight, self.lora_B[name].weight, self.scaling[name]
        dropout, base = self.lora_dropout[name], self.base_layer
        if isinstance(dropout, nn.Identity) or not dropout.training:
            if type(base) is nn.Linear:
                return _LoraLinear.apply(x, base.weight, base.bias, a, b, scale, made_of)  # type: ignore[no-any-return, no-untyped-call]
            if isinstance(base, ReorderedLinear):
                return _LoraLinear.apply(x, base, None, a, b, scale, made_of)  # type: ignore[no-any-return, no-untyped-call]
        dropped = dropout(x)
        return base(x) + _LowRank.apply(dropped, a, b, scale, made_of if dropped is x else None)  # type: ignore[no-any-return, no-untyped-call]


class FastLinear(FastForward, PeftLinear):
    """PEFT's LoRA on a linear layer, with the fast forward pass."""

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """As PEFT's, which writes into the plain matrix."""
        if isinstance(self.base_layer, ReorderedLinear):
            self.base_layer.restore()
        super().merge(safe_merge, adapter_names)


def _quantized_layers() -> tuple[type[nn.Module], type[nn.Module]]:
    from peft.tuners.lora.bnb import Linear4bit, Linear8bitLt  # noqa: PLC0415 - exist only with bitsandbytes

    class FastLinear4bit(FastForward, Linear4bit):
        """PEFT's LoRA on a 4-bit layer, with the fast forward pass."""

    class FastLinear8bit(FastForward, Linear8bitLt):
        """PEFT's LoRA on an 8-bit layer, with the fast forward pass."""

    return FastLinear4bit, FastLinear8bit


def _is_plain(layer: LoraLayer) -> bool:
    """Whether exactly one adapter acts, unmerged, as a product of two matrices without biases."""
    if layer.disable_adapters or layer.merged or len(layer.active_adapters) != 1:
        return False
    name = layer.active_adapters[0]
    if name not in layer.lora_A or name in layer.lora_variant or layer.lora_bias[name]:
        return False
    weight: Tensor = layer.lora_A[name].weight  # type: ignore[assignment]
    return not torch.is_autocast_enabled(weight.device.type)


@one_kernel
def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up."""
    return F.silu(gate).mul_(up)


@dataclass(slots=True)
class Leftover:
    """silu(gate), from one backward function to the next one."""

    silu: Tensor | None = None

    def take(self) -> Tensor | None:
        """silu(gate) if it is there, for good: the caller may write into it."""
        silu, self.silu = self.silu, None
        return silu


@dataclass(slots=True)
class Gated:
    """What a layer's input silu(gate) * up is made of. In a CPU's backward pass, silu(gate) is computed once: to make
    that input again, and right after for the gradients of its parts."""

    gate: Tensor
    up: Tensor
    left: Leftover


class _LoraLinear(torch.autograd.Function):
    """W x + bias + s B A x, and its gradients, for a frozen W, plain or reordered."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        matrix: Tensor | ReorderedLinear,
        bias: Tensor | None,
        a: Tensor,
        b: Tensor,
        scale: float,
        made_of: Gated | None,
    ) -> Tensor:
        rows = x.flatten(0, -2)
        down, up = a.to(x.dtype), _scaled(b, scale).to(x.dtype)
        inner = rows @ down.t()
        plain = isinstance(matrix, Tensor)
        out = F.linear(rows, matrix, bias) if isinstance(matrix, Tensor) else matrix.ahead(rows)
        out.addmm_(inner, up.t())
        ctx.save_for_backward(matrix if plain else None, down, up, inner, *_to_keep(x, made_of))
        ctx.scale, ctx.master, ctx.left = scale, a.dtype, made_of and made_of.left
        ctx.reordered = None if plain else matrix
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, down, up, inner, *inputs = ctx.saved_tensors
        x = _made_again(inputs, ctx.left)
        g = grad.flatten(0, -2)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = (g @ weight if weight is not None else ctx.reordered.backwards(g)).view_as(x)
        grad_inner, grad_a, grad_b = _low_rank_gradients(g, x.flatten(0, -2), inner, up, ctx.scale, ctx.master)
        if grad_x is not None:
            grad_x.flatten(0, -2).addmm_(grad_inner, down)
        return grad_x, None, None, grad_a, grad_b, None, None


class _LowRank(torch.autograd.Function):
    """s B A x alone, to be added to the output of a base layer of any kind."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, a: Tensor, b: Tensor, scale: float, made_of: Gated | None) -> Tensor:
        down, up = a.to(x.dtype), _scaled(b, scale).to(x.dtype)
        inner = x.flatten(0, -2) @ down.t()
        ctx.save_for_backward(down, up, inner, *_to_keep(x, made_of))
        ctx.scale, ctx.master, ctx.left = scale, a.dtype, made_of and made_of.left
        return (inner @ up.t()).view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        down, up, inner, *inputs = ctx.saved_tensors
        x = _made_again(inputs, ctx.left)
        g = grad.flatten(0, -2)
        grad_inner, grad_a, grad_b = _low_rank_gradients(g, x.flatten(0, -2), inner, up, ctx.scale, ctx.master)
        grad_x = (grad_inner @ down).view_as(x) if ctx.needs_input_grad[0] else None
        return grad_x, grad_a, grad_b, None, None


def _to_keep(x: Tensor, made_of: Gated | None) -> tuple[Tensor, ...]:
    """What a layer keeps of its input."""
    return (x,) if made_of is None else (made_of.gate, made_of.up)


def _made_again(kept: list[Tensor], left: Leftover | None) -> Tensor:
    """A layer's input, from itself or from what it was made of."""
    if left is None:
        return kept[0]
    gate, up = kept
    if gate.is_cuda:
        return swiglu(gate, up)
    left.silu = F.silu(gate)
    return left.silu * up


def _low_rank_gradients(
    g: Tensor, x: Tensor, inner: Tensor, up: Tensor, scale: float, master: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients with respect to A x, A and B, the latter two in the masters' dtype.

    `g` is [tokens, out], `x` [tokens, in], `inner` = A x [tokens, rank], `up` = s B [out, rank].
    """
    grad_inner = g @ up
    grad_a = wide_mm(grad_inner.t(), x, master)
    if g.is_cuda:
        grad_b = wide_mm(g.t(), inner, master)
    else:  # transposed afterwards: a few long rows are the faster product, and B is small
        grad_b = (inner.t() @ g).t().to(master, memory_format=torch.contiguous_format)
    return grad_inner, grad_a, _scaled(grad_b, scale)


def _scaled(matrix: Tensor, scale: float) -> Tensor:
    """The usual alpha / r is 1, and then this costs a GPU no launch."""
    return matrix if scale == 1.0 else matrix * scale
