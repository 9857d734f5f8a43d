"""Attention over packed sequences by matrix products, block by block, for devices without a fused masked kernel.

The tokens of a packed sequence see few others, so one dense mask wastes most of its work. Here the queries are cut into
blocks; a block sees some ranges of keys whole (the prompt before it, its own answer before it) and its own square
causally. On a CPU, products over these ranges with a backward pass that recomputes the weights are several times
faster than the masked kernel. Scores, weights and sums are fp32 (fp64 for fp64).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from quickalign.data.pack import Group

# Queries per block: long enough for efficient products, short enough to skip most of the causal half.
BLOCK = 128


@dataclass(frozen=True, slots=True)
class Block:
    """Queries [start, end) of a packed sequence, and the key ranges before them that they see whole."""

    start: int
    end: int
    context: tuple[tuple[int, int], ...]


def cut_blocks(groups: Iterable[Group], size: int = BLOCK) -> list[Block]:
    """The blocks that cover `groups`: every token is a query once."""
    blocks: list[Block] = []
    for group in groups:
        blocks += _blocks_of(group.start, group.answers[0], (), size)
        prompt = ((group.start, group.answers[0]),) if group.prompt else ()
        for start, end in zip(group.answers[:-1], group.answers[1:], strict=True):
            blocks += _blocks_of(start, end, prompt, size)
    return blocks


def _blocks_of(start: int, end: int, prompt: tuple[tuple[int, int], ...], size: int) -> list[Block]:
    starts = range(start, end, size)
    return [Block(at, min(at + size, end), (*prompt, (start, at)) if at > start else prompt) for at in starts]


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
        q, k, v = _grouped(query, key.shape[1]), _grouped(key, key.shape[1]), _grouped(value, key.shape[1])
        kv_heads, repeats, length, dim = q.shape
        out = query.new_empty((length, kv_heads, repeats, dim))
        norms = q.new_empty((kv_heads, repeats, length))
        for block in blocks:
            at = slice(block.start, block.end)
            scores = _scores(q, _keys(k, block), block, scaling)
            norm = scores.logsumexp(-1, keepdim=True)
            norms[:, :, at] = norm.squeeze(-1)
            weights = scores.sub_(norm).exp_().flatten(1, 2)
            part = torch.bmm(weights, _keys(v, block)).view(kv_heads, repeats, -1, dim)
            out[at] = part.permute(2, 0, 1, 3)
        result = out.view(1, length, kv_heads * repeats, dim)
        ctx.save_for_backward(query, key, value, result, norms)
        ctx.scaling, ctx.blocks = scaling, blocks
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, result, norms = ctx.saved_tensors
        q, k, v = _grouped(query, key.shape[1]), _grouped(key, key.shape[1]), _grouped(value, key.shape[1])
        g = _grouped(grad.transpose(1, 2), key.shape[1])
        deltas = (g * _grouped(result.transpose(1, 2), key.shape[1])).sum(-1)
        grad_q, grad_k, grad_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for block in ctx.blocks:
            at = slice(block.start, block.end)
            keys, values = _keys(k, block), _keys(v, block)
            g_block, q_block = g[:, :, at].flatten(1, 2), q[:, :, at].flatten(1, 2)
            weights = _scores(q, keys, block, ctx.scaling).sub_(norms[:, :, at, None]).exp_()
            _add_keys(grad_v, torch.bmm(weights.flatten(1, 2).transpose(1, 2), g_block), block)
            steps = torch.bmm(g_block, values.transpose(1, 2)).view_as(weights)
            steps = steps.sub_(deltas[:, :, at, None]).mul_(weights).mul_(ctx.scaling).flatten(1, 2)
            grad_q[:, :, at] = torch.bmm(steps, keys).view_as(grad_q[:, :, at])
            _add_keys(grad_k, torch.bmm(steps.transpose(1, 2), q_block), block)
        return _ungrouped(grad_q, query), _ungrouped(grad_k, key), _ungrouped(grad_v, value), None, None


def _grouped(states: Tensor, kv_heads: int) -> Tensor:
    """[1, heads, length, dim] as wide, contiguous [kv_heads, repeats, length, dim]; keys have one repeat."""
    wide = torch.promote_types(states.dtype, torch.float32)
    heads, length, dim = states.shape[1:]
    return states[0].to(wide, memory_format=torch.contiguous_format).view(kv_heads, heads // kv_heads, length, dim)


def _ungrouped(gradient: Tensor, like: Tensor) -> Tensor:
    return gradient.flatten(0, 1)[None].to(like.dtype)


def _scores(q: Tensor, keys: Tensor, block: Block, scaling: float) -> Tensor:
    """[kv_heads, repeats, queries, keys] scaled scores, -inf where a query precedes a key of its own block."""
    queries = q[:, :, block.start : block.end]
    scores = torch.bmm(queries.flatten(1, 2), keys.transpose(1, 2)).mul_(scaling)
    scores = scores.view(*queries.shape[:3], -1)
    size = block.end - block.start
    future = torch.ones(size, size, dtype=torch.bool, device=q.device).triu_(1)
    scores[..., -size:].masked_fill_(future, -torch.inf)
    return scores


def _keys(states: Tensor, block: Block) -> Tensor:
    """[kv_heads, keys, dim] the keys or values that a block sees: its context, then itself."""
    flat = states[:, 0]
    if not block.context:
        return flat[:, block.start : block.end]
    return torch.cat([flat[:, start:end] for start, end in _ranges(block)], dim=1)


def _add_keys(gradient: Tensor, part: Tensor, block: Block) -> None:
    """Add [kv_heads, keys, dim] onto the places that `_keys` took them from."""
    at = 0
    for start, end in _ranges(block):
        gradient[:, 0, start:end] += part[:, at : at + end - start]
        at += end - start


def _ranges(block: Block) -> tuple[tuple[int, int], ...]:
    return (*block.context, (block.start, block.end))
