"""Attention over packed sequences by matrix products, block by block, for devices without a fused masked kernel.

The tokens of a packed sequence see few others, so one dense mask wastes most of its work. Here the queries are cut into
blocks; a block sees some ranges of keys whole (what stands before it in its own texts) and its own square causally. On
a CPU, products over these ranges with a backward pass that recomputes the weights are several times faster than the
masked kernel. Scores, their softmax and its gradient are fp32 (fp64 for fp64); in products with values, keys and
queries they have the precision of those, as in fused kernels (Dao 2023, FlashAttention-2).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from quickalign.data.encode import IntArray

# Queries per block: long enough for efficient products, short enough to skip most of the causal half, and for a block's
# scores to stay in a CPU's second-level cache (with 640 tokens a tenth to a fifth faster than 128).
BLOCK = 64


@dataclass(frozen=True, slots=True)
class Block:
    """Queries [start, end) of a packed sequence, and the key ranges before them that they see whole."""

    start: int
    end: int
    context: tuple[tuple[int, int], ...]


def cut_blocks(reach: IntArray, size: int = BLOCK) -> list[Block]:
    """The blocks of a packed sequence: every token is a query once.

    Args:
        reach: [length] where each token is no longer seen (`PackedSequence`).
        size: queries per block, at most.
    """
    blocks: list[Block] = []
    start = 0
    # A run of tokens, each of which sees the one before it, ends with one that nothing after it sees.
    for end in (np.flatnonzero(reach == np.arange(1, len(reach) + 1)) + 1).tolist():
        before = _ranges_of(reach[:start] > start)
        for at in range(start, end, size):
            context = (*before, (start, at)) if at > start else before
            blocks.append(Block(at, min(at + size, end), context))
        start = end
    return blocks


def _ranges_of(seen: npt.NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    """Where the values are true: [start, end) of each stretch."""
    edges = np.flatnonzero(np.diff(seen, prepend=False, append=False)).tolist()
    return tuple(zip(edges[::2], edges[1::2], strict=True))


def block_attention(query: Tensor, key: Tensor, value: Tensor, scaling: float, blocks: Sequence[Block]) -> Tensor:
    """Softmax attention in which every block sees its context and, causally, itself.

    Args:
        query: [1, heads, length, dim].
        key: [1, kv_heads, length, dim]; heads is a multiple of kv_heads, and neighbouring heads share keys.
        value: [1, kv_heads, length, dim].
        scaling: factor of the scores.
        blocks: what `cut_blocks` made for this sequence.

    Returns:
        [1, length, heads, dim] in the dtype of `query`.
    """
    return _BlockAttention.apply(query, key, value, scaling, blocks)  # type: ignore[no-any-return, no-untyped-call]


class _BlockAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float, blocks: Sequence[Block]) -> Tensor:
        q, k, v = _wide(query, key.shape[1]).mul_(scaling), _wide(key), _copy(value)
        kv_heads, length, repeats, dim = q.shape
        out = query.new_empty((length, kv_heads, repeats, dim))
        for block in blocks:
            weights = _weights(q, _seen(k, block), block).to(v.dtype)
            part = torch.bmm(weights, _seen(v, block)).view(kv_heads, -1, repeats, dim)
            out[block.start : block.end] = part.transpose(0, 1)
        ctx.save_for_backward(query, key, value)
        ctx.scaling, ctx.blocks = scaling, blocks
        return out.view(1, length, kv_heads * repeats, dim)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value = ctx.saved_tensors
        kv_heads, narrow = key.shape[1], query.dtype
        q, k, v = _wide(query, kv_heads).mul_(ctx.scaling), _wide(key), _wide(value)
        g = _wide(grad.transpose(1, 2), kv_heads)
        narrow_q, narrow_k, narrow_g = q.to(narrow), k.to(narrow), g.to(narrow)
        grad_q, grad_k, grad_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for block in ctx.blocks:
            weights = _weights(q, _seen(k, block), block)
            _add_seen(grad_v, torch.bmm(weights.to(narrow).transpose(1, 2), _rows(narrow_g, block)), block)
            steps = torch.bmm(_rows(g, block), _seen(v, block).transpose(1, 2))
            steps = torch._softmax_backward_data(steps, weights, -1, steps.dtype).to(narrow)
            _rows(grad_q, block).copy_(torch.bmm(steps, _seen(narrow_k, block)))
            _add_seen(grad_k, torch.bmm(steps.transpose(1, 2), _rows(narrow_q, block)), block)
        return _back(grad_q.mul_(ctx.scaling), narrow), _back(grad_k, narrow), _back(grad_v, narrow), None, None


def _copy(states: Tensor, kv_heads: int = 0, dtype: torch.dtype | None = None) -> Tensor:
    """[1, heads, length, dim] as a new [kv_heads, length, repeats, dim]: rows of neighbouring heads that share keys lie
    beside each other, so that those of a block are one matrix. Keys have one repeat."""
    heads, length, dim = states.shape[1:]
    kv_heads = kv_heads or heads
    copy = states.new_empty((kv_heads, length, heads // kv_heads, dim), dtype=dtype or states.dtype)
    return copy.copy_(states[0].view(kv_heads, -1, length, dim).transpose(1, 2))


def _wide(states: Tensor, kv_heads: int = 0) -> Tensor:
    """As `_copy`, at least in fp32."""
    return _copy(states, kv_heads, torch.promote_types(states.dtype, torch.float32))


def _back(gradient: Tensor, dtype: torch.dtype) -> Tensor:
    """The inverse of `_copy`; in memory, all heads of a token lie beside each other, as the projections made them."""
    kv_heads, length, repeats, dim = gradient.shape
    rows = gradient.new_empty((length, kv_heads, repeats, dim), dtype=dtype).copy_(gradient.transpose(0, 1))
    return rows.view(1, length, kv_heads * repeats, dim).transpose(1, 2)


def _rows(states: Tensor, block: Block) -> Tensor:
    """[kv_heads, queries * repeats, dim] a block's part of copied states."""
    return states[:, block.start : block.end].flatten(1, 2)


def _weights(q: Tensor, keys: Tensor, block: Block) -> Tensor:
    """[kv_heads, queries * repeats, keys] softmax of the scores, 0 where a query precedes a key of its own block."""
    scores = torch.bmm(_rows(q, block), keys.transpose(1, 2))
    size = block.end - block.start
    own = scores.view(q.shape[0], size, q.shape[2], -1)[..., -size:]
    own.masked_fill_(_future(size, q.device), -torch.inf)
    return scores.softmax(-1)


@lru_cache(maxsize=2 * BLOCK)
def _future(size: int, device: torch.device) -> Tensor:
    """[queries, 1, keys] which keys of its own block a query does not see."""
    return torch.ones(size, size, dtype=torch.bool, device=device).triu_(1)[:, None]


def _seen(states: Tensor, block: Block) -> Tensor:
    """[kv_heads, keys, dim] the keys or values that a block sees: its context, then itself."""
    parts = [states[:, start:end, 0] for start, end in _ranges(block)]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _add_seen(gradient: Tensor, part: Tensor, block: Block) -> None:
    """Add [kv_heads, keys, dim] onto the places that `_seen` took them from."""
    at = 0
    for start, end in _ranges(block):
        gradient[:, start:end, 0] += part[:, at : at + end - start]
        at += end - start


def _ranges(block: Block) -> list[tuple[int, int]]:
    """The block's context and itself, neighbours put together."""
    ranges: list[tuple[int, int]] = []
    for start, end in (*block.context, (block.start, block.end)):
        if ranges and ranges[-1][1] == start:
            ranges[-1] = (ranges[-1][0], end)
        else:
            ranges.append((start, end))
    return ranges
