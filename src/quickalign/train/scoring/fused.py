"""Norms and feed-forward parts of a frozen base that do the same and keep less for the backward pass.

transformers writes RMS normalisation (Zhang and Sennrich 2019, eq. 4) and SwiGLU (Shazeer 2020, eq. 6) one operation at
a time, and autograd keeps what each of them read: the stream again in fp32, silu(gate), and silu(gate) * up. Here each
is one function with a backward pass of its own. A norm keeps the stream as it is and one number a token, a feed-forward
part its gate and its up. On a CPU every number of the forward pass is rounded as transformers rounds it; torch's kernel
for the norm on CUDA leaves one rounding out.

A module is switched only where it gives the same as before on a few made-up tokens; others, such as Gemma's, stay.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers.activations import SiLUActivation

from quickalign.train.scoring.compiled import one_kernel
from quickalign.train.scoring.lora import FastForward, Gated, Leftover, swiglu

_TOKENS = 3


def fuse(model: nn.Module) -> None:
    """Switch the norms and feed-forward parts of `model`, whose base is frozen, where that changes nothing."""
    for module in model.modules():
        own: Any = module
        if _is_norm(module):
            _switch(module, FusedNorm, own.weight.shape[0], own.weight)
        elif _is_gated(module):
            _switch(module, FusedFeedForward, own.gate_proj.in_features, own.gate_proj.weight)


class FusedNorm(nn.Module):
    """RMS normalisation with a frozen scale."""

    weight: Tensor
    variance_epsilon: float

    def forward(self, stream: Tensor) -> Tensor:
        """[..., hidden] -> [..., hidden]."""
        if stream.is_cuda:  # torch has a kernel each for the forward and the backward pass; on a CPU it has none
            return F.rms_norm(stream, self.weight.shape, self.weight, self.variance_epsilon)
        return _Norm.apply(stream, self.weight, self.variance_epsilon)  # type: ignore[no-any-return, no-untyped-call]


class FusedFeedForward(nn.Module):
    """down(silu(gate(x)) * up(x)), whose product is made again where the adapter on `down` needs it."""

    gate_proj: nn.Module
    up_proj: nn.Module
    down_proj: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        """[..., hidden] -> [..., hidden]."""
        gate, up = self.gate_proj(x), self.up_proj(x)
        left = Leftover()
        product = _Swiglu.apply(gate, up, left)  # type: ignore[no-untyped-call]
        known = {"made_of": Gated(gate, up, left)} if isinstance(self.down_proj, FastForward) else {}
        return self.down_proj(product, **known)  # type: ignore[no-any-return]


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, stream: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        wide = stream.to(torch.promote_types(stream.dtype, torch.float32))
        factor = torch.linalg.vecdot(wide, wide).div_(stream.shape[-1]).add_(epsilon).rsqrt_()[..., None]
        ctx.save_for_backward(stream, weight, factor)
        normal: Tensor = (wide * factor).to(stream.dtype)
        return normal * weight

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        stream, weight, factor = ctx.saved_tensors
        normal, upstream = stream * factor, (grad * weight).to(factor.dtype)
        shared = torch.linalg.vecdot(upstream, normal).div_(stream.shape[-1])[..., None]
        return upstream.addcmul_(normal, shared, value=-1).mul_(factor).to(stream.dtype), None, None


class _Swiglu(torch.autograd.Function):
    """silu(gate) * up; where the layer behind it made that again, its backward pass left silu(gate) behind."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, left: Leftover) -> Tensor:
        ctx.save_for_backward(gate, up)
        ctx.left = left
        return swiglu(gate, up)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        gate, up = ctx.saved_tensors
        return *_gated_gradients(grad, gate, up, ctx.left.take()), None


@one_kernel
def _gated_gradients(grad: Tensor, gate: Tensor, up: Tensor, silu: Tensor | None) -> tuple[Tensor, Tensor]:
    """The gradients of gate and up; `silu` is silu(gate) where it is at hand, and is written into."""
    return torch.ops.aten.silu_backward(grad * up, gate), (F.silu(gate) if silu is None else silu).mul_(grad)


def _is_norm(module: nn.Module) -> bool:
    weight, epsilon = getattr(module, "weight", None), getattr(module, "variance_epsilon", None)
    frozen = isinstance(weight, nn.Parameter) and weight.ndim == 1 and not weight.requires_grad
    return frozen and isinstance(epsilon, float)


def _is_gated(module: nn.Module) -> bool:
    parts = [getattr(module, name, None) for name in ("gate_proj", "up_proj", "down_proj")]
    return all(isinstance(part, nn.Module) for part in parts) and isinstance(
        getattr(module, "act_fn", None), nn.SiLU | SiLUActivation
    )


def _switch(module: nn.Module, fused: type[nn.Module], size: int, weight: Tensor) -> None:
    """Give `module` the class `fused`, unless that gives something else; `weight` reads its input of `size` numbers."""
    own = type(module)
    dtype = weight.dtype if weight.is_floating_point() else torch.float32
    probe = torch.randn(1, _TOKENS, size, generator=torch.Generator().manual_seed(0)).to(weight.device, dtype)
    with torch.no_grad():
        expected = module(probe)
        module.__class__ = fused
        try:
            rounding = max(1e-6, 4 * torch.finfo(dtype).eps)
            same = torch.allclose(module(probe), expected, rtol=rounding, atol=rounding)
        except (RuntimeError, AttributeError, TypeError):
            same = False
    if not same:
        module.__class__ = own
