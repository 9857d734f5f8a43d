"""Embeddings of a quantised base that stay as the weights file stores them, while everything is computed wider.

A chip without bf16 computes in fp32. Turned into fp32, the embedding of a small model with a large vocabulary takes
more memory than all its 4-bit layers: 0.54 GB of 0.73 GB with Qwen2-0.5B's shape. Its 16-bit rows are widened where
they are used instead, which changes no number.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import PreTrainedModel

ROWS = 4096
"""Rows of a head that are widened at a time when it is run as a module."""


class NarrowEmbedding(nn.Embedding):
    """An embedding whose rows are widened after they were looked up."""

    wide: torch.dtype

    def forward(self, ids: Tensor) -> Tensor:
        """[..., hidden] in the compute precision."""
        return super().forward(ids).to(self.wide)


class NarrowLinear(nn.Linear):
    """A frozen head whose rows are widened a few at a time."""

    def forward(self, hidden: Tensor) -> Tensor:
        """[..., vocabulary] in the precision of `hidden`."""
        products: Tensor = _Projection.apply(hidden, self.weight)  # type: ignore[no-untyped-call]
        return products if self.bias is None else products + self.bias


class _Projection(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor) -> Tensor:
        ctx.weight = weight
        return torch.cat([F.linear(hidden, rows.to(hidden.dtype)) for rows in weight.split(ROWS)], dim=-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        parts = zip(grad.split(ROWS, dim=-1), ctx.weight.split(ROWS), strict=True)
        return sum(part @ rows.to(grad.dtype) for part, rows in parts), None


def keep_narrow(model: PreTrainedModel, stored: torch.dtype) -> None:
    """Let the embedding and the head of `model` lie in memory in `stored`, the precision of its weights file.

    Does nothing where that is no narrower than what they are in, or where they are more than a table and a matrix.
    """
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if type(embedding) is not nn.Embedding or type(head) is not nn.Linear:
        return
    wide = embedding.weight.dtype
    if stored.itemsize >= wide.itemsize:
        return
    for weight in {embedding.weight, head.weight}:
        weight.requires_grad_(False)
        weight.data = weight.data.to(stored)
    embedding.__class__, head.__class__ = NarrowEmbedding, NarrowLinear
    embedding.wide = wide  # type: ignore[assignment]
