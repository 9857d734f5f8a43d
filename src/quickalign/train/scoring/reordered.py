"""Frozen matrices that lie in memory as oneDNN multiplies them.

On a CPU, a bf16 product with a matrix W begins with copying W into blocks that the kernel reads one after another
(oneDNN's weights of `format_tag::any`). A frozen W need be copied only once: for x W^T in the forward pass, and again,
differently, for g W in the backward pass. At Qwen2-0.5B's shape products then take 4 to 6 % less time with 488 rows and
7 to 10 % less with 308 and with 640, and a training step 5 to 7 % less. The plain matrix is let go of, so a base takes
those matrices' bytes once more.

Whoever asks for `weight` gets the plain matrix, put together anew: values are only moved, never rounded.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from quickalign.train.release import release_unused

# Numbers of a matrix that is worth the memory: with Qwen2-0.5B those of the feed-forward part.
LEAST = 1 << 21
# oneDNN chooses blocks by the number of rows; those for a few hundred serve all lengths as well.
_ROWS = 448
_TRIM = 8


@cache
def can_reorder() -> bool:
    """Whether PyTorch multiplies bf16 by oneDNN here, lets matrices be reordered, and gives the same with these."""
    weight, rows = torch.eye(32, dtype=torch.bfloat16).roll(3, 0), torch.arange(96.0).bfloat16().view(3, 32)
    try:
        if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            return False
        matrix = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS)
        return torch.equal(matrix.to_dense(), weight) and torch.equal(_product(rows, matrix, None), rows @ weight.t())
    except (AttributeError, RuntimeError):  # another build of PyTorch, or another kind of processor
        return False


def reorder(model: nn.Module) -> None:
    """Let the large frozen bf16 matrices of `model` that LoRA adapts lie as they are multiplied."""
    bases = [getattr(module, "base_layer", None) for module in model.modules()]
    ready = [base for base in bases if type(base) is nn.Linear and _is_ready(base.weight)]
    if not ready or not can_reorder():
        return
    for count, base in enumerate(ready):
        _switch(base)
        if count % _TRIM == 0:  # reordering leaves pieces behind that the next matrices do not fit
            release_unused()
    release_unused()
    # What is left of the base is a view of the mapped weights file, which would stay in memory whole.
    for tensor in [*model.parameters(), *model.buffers()]:
        if not tensor.requires_grad:
            tensor.data = tensor.data.clone()


class ReorderedLinear(nn.Linear):
    """A frozen linear layer without its plain matrix.

    Attributes:
        forth: W [out, in] as x W^T reads it.
        back: W^T [in, out] as g W reads it.
    """

    forth: Tensor
    back: Tensor

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """[out, in] the plain matrix, made anew for whoever asks: writing into it changes nothing."""
        return self.forth.to_dense()

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - PyTorch's name
        """[..., in] -> [..., out]."""
        return _Product.apply(input, self)  # type: ignore[no-any-return, no-untyped-call]

    def ahead(self, rows: Tensor) -> Tensor:
        """[rows, in] -> [rows, out]: x W^T + bias."""
        return _product(rows, self.forth, self.bias)

    def backwards(self, rows: Tensor) -> Tensor:
        """[rows, out] -> [rows, in]: g W, the gradient with respect to the input."""
        return _product(rows, self.back, None)

    def restore(self) -> None:
        """Be a plain layer again."""
        plain = nn.Parameter(self.weight, requires_grad=False)
        del self.forth, self.back
        self.__class__ = nn.Linear  # type: ignore[assignment]
        self.weight = plain  # type: ignore[misc]


class _Product(torch.autograd.Function):
    """The layer's output, differentiable with respect to its input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: ReorderedLinear) -> Tensor:
        ctx.layer = layer
        return layer.ahead(x.flatten(0, -2)).view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.layer.backwards(grad.flatten(0, -2)).view(*grad.shape[:-1], -1), None


def _product(rows: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
    """[rows, in] times the transpose of a reordered [out, in], plus [out]."""
    return torch.ops.mkldnn._linear_pointwise(rows, matrix, bias, "none", [], "")  # type: ignore[no-any-return]


def _is_ready(weight: Tensor) -> bool:
    frozen_bf16 = weight.device.type == "cpu" and weight.dtype == torch.bfloat16 and not weight.requires_grad
    return frozen_bf16 and weight.numel() >= LEAST


def _switch(base: nn.Linear) -> None:
    plain = base.weight.detach()
    forth = torch.ops.mkldnn._reorder_linear_weight(plain, _ROWS)
    back = torch.ops.mkldnn._reorder_linear_weight(plain.t(), _ROWS)
    del base.weight
    base.__class__ = ReorderedLinear
    base.forth, base.back = forth, back
