"""Attention over packed sequences by matrix products, block by block, for devices without a fused masked kernel.

The tokens of a packed sequence see few others, so one dense mask wastes most of its work. Here the sequence is cut into
runs, in which every token sees the one before it and all of which see the same ranges of keys before them; those keys
and the run's own are put beside each other once. A run's queries are cut into blocks; a block sees the run's keys up to
itself, and its own square causally. On a CPU, products over these keys with a backward pass that recomputes the weights
are several times faster than the masked kernel. Scores, their softmax and its gradient are fp32 (fp64 for fp64); in
products with values, keys and queries they have the precision of those, as in fused kernels (Dao 2023,
FlashAttention-2).
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
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
class Run:
    """Tokens of a packed sequence that follow one another, each of which sees the one before it.

    Attributes:
        ranges: [start, end) of the keys that its last token sees, ascending; the run itself is the end of the last one.
        edges: where its blocks of queries start, and where the last one ends.
        shift: how far its tokens stand behind their queries, if not all tokens have one.
    """

    ranges: tuple[tuple[int, int], ...]
    edges: tuple[int, ...]
    shift: int = 0

    @property
    def end(self) -> int:
        """Where it ends in the sequence."""
        return self.ranges[-1][1]

    def blocks(self) -> Iterator[tuple[int, int, int]]:
        """Each block's first query, how many it has, and how many of the run's keys they see."""
        before = sum(end - start for start, end in self.ranges) - self.end + self.shift
        for start, end in pairwise(self.edges):
            yield start, end - start, end + before


def cut_runs(reach: IntArray, size: int = BLOCK) -> list[Run]:
    """The runs of a packed sequence: every token is a query once.

    Args:
        reach: [length] where each token is no longer seen (`PackedSequence`).
        size: queries per block, at most.
    """
    runs: list[Run] = []
    start = 0
    # A run ends with a token that nothing after it sees.
    for end in (np.flatnonzero(reach == np.arange(1, len(reach) + 1)) + 1).tolist():
        seen = reach[:end] > start
        seen[start:] = True
        runs.append(Run(_ranges_of(seen), _edges(start, end, size)))
        start = end
    return runs


def only_queries(runs: Sequence[Run], places: Sequence[int], size: int = BLOCK) -> list[Run]:
    """The runs of a sequence in which only the tokens at `places` are queries, in the order given.

    Args:
        runs: of the whole sequence.
        places: of tokens.
        size: queries per block, at most.
    """
    ends = [run.end for run in runs]
    found: list[Run] = []
    first = 0
    for last in range(1, len(places) + 1):
        run = runs[bisect_right(ends, places[first])]
        if last == len(places) or places[last] != places[last - 1] + 1 or places[last] == run.end:
            found.append(Run(run.ranges, _edges(first, last, size), places[first] - first))
            first = last
    return found


def _edges(start: int, end: int, size: int) -> tuple[int, ...]:
    blocks = -(-(end - start) // size)
    return tuple(start + (end - start) * block // blocks for block in range(blocks + 1))


def _ranges_of(seen: npt.NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    """Where the values are true: [start, end) of each stretch."""
    edges = np.flatnonzero(np.diff(seen, prepend=False, append=False)).tolist()
    return tuple(zip(edges[::2], edges[1::2], strict=True))


def block_attention(query: Tensor, key: Tensor, value: Tensor, scaling: float, runs: Sequence[Run]) -> Tensor:
    """Softmax attention in which every token sees its run's keys up to itself.

    Args:
        query: [1, heads, queries, dim], of all tokens or of those for which `only_queries` made the runs.
        key: [1, kv_heads, length, dim]; heads is a multiple of kv_heads, and neighbouring heads share keys.
        value: [1, kv_heads, length, dim].
        scaling: factor of the scores.
        runs: what `cut_runs` made for this sequence.

    Returns:
        [1, queries, heads, dim] in the dtype of `query`, or of autocast where that is on.
    """
    device = query.device.type
    if torch.is_autocast_enabled(device):  # as it does to SDPA's inputs; inside, it would round the scores too
        query, key, value = (states.to(torch.get_autocast_dtype(device)) for states in (query, key, value))
        with torch.autocast(device, enabled=False):
            return block_attention(query, key, value, scaling, runs)
    return _BlockAttention.apply(query, key, value, scaling, runs)  # type: ignore[no-any-return, no-untyped-call]


class _BlockAttention(torch.autograd.Function):
    # Blocks are small, so what counts besides products is how many tensors are made: a `narrow` is one.
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float, runs: Sequence[Run]) -> Tensor:
        kv_heads, repeats = key.shape[1], query.shape[1] // key.shape[1]
        q, k, v = _wide(query, kv_heads).mul_(scaling), _wide(key), _copy(value)
        out = torch.empty_like(q, dtype=v.dtype)
        for run in runs:
            keys, values = _seen(k, run).transpose(1, 2), _seen(v, run)
            for start, queries, seen in run.blocks():
                first, rows = start * repeats, queries * repeats
                weights = _weights(q.narrow(1, first, rows), keys.narrow(2, 0, seen), queries)
                torch.bmm(weights.to(v.dtype), values.narrow(1, 0, seen), out=out.narrow(1, first, rows))
        ctx.save_for_backward(query, key, value)
        ctx.scaling, ctx.runs = scaling, runs
        return _back(out, repeats, v.dtype).transpose(1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value = ctx.saved_tensors
        kv_heads, repeats, narrow = key.shape[1], query.shape[1] // key.shape[1], query.dtype
        q, k, v = _wide(query, kv_heads).mul_(ctx.scaling), _wide(key), _wide(value)
        narrow_q, narrow_k, narrow_g = q.to(narrow), k.to(narrow), _copy(grad.transpose(1, 2), kv_heads)
        g = narrow_g.to(q.dtype)
        grad_q, grad_k, grad_v = torch.empty_like(narrow_q), torch.zeros_like(k), torch.zeros_like(v)
        for run in ctx.runs:
            keys, narrow_keys, values = (
                _seen(k, run).transpose(1, 2),
                _seen(narrow_k, run),
                _seen(v, run).transpose(1, 2),
            )
            into_k, into_v = _gathered(grad_k, run), _gathered(grad_v, run)
            for start, queries, seen in run.blocks():
                first, rows = start * repeats, queries * repeats
                weights = _weights(q.narrow(1, first, rows), keys.narrow(2, 0, seen), queries)
                steps = torch.bmm(g.narrow(1, first, rows), values.narrow(2, 0, seen))
                steps = torch._softmax_backward_data(steps, weights, -1, steps.dtype).to(narrow)
                weights = weights.to(narrow).transpose(1, 2)
                into_v.narrow(1, 0, seen).add_(torch.bmm(weights, narrow_g.narrow(1, first, rows)))
                torch.bmm(steps, narrow_keys.narrow(1, 0, seen), out=grad_q.narrow(1, first, rows))
                into_k.narrow(1, 0, seen).add_(torch.bmm(steps.transpose(1, 2), narrow_q.narrow(1, first, rows)))
            _scatter(grad_k, into_k, run)
            _scatter(grad_v, into_v, run)
        return (
            _back(grad_q, repeats, narrow, ctx.scaling),
            _back(grad_k, 1, narrow),
            _back(grad_v, 1, narrow),
            None,
            None,
        )


def _copy(states: Tensor, kv_heads: int = 0, dtype: torch.dtype | None = None) -> Tensor:
    """[1, heads, length, dim] as a new [kv_heads, length * repeats, dim]: rows of neighbouring heads that share keys
    lie beside each other, so that those of a block are one matrix. Keys have one repeat."""
    heads, length, dim = states.shape[1:]
    kv_heads = kv_heads or heads
    copy = states.new_empty((kv_heads, length, heads // kv_heads, dim), dtype=dtype or states.dtype)
    return copy.copy_(states[0].view(kv_heads, -1, length, dim).transpose(1, 2)).flatten(1, 2)


def _wide(states: Tensor, kv_heads: int = 0) -> Tensor:
    """As `_copy`, at least in fp32."""
    return _copy(states, kv_heads, torch.promote_types(states.dtype, torch.float32))


def _back(states: Tensor, repeats: int, dtype: torch.dtype, factor: float = 1.0) -> Tensor:
    """The inverse of `_copy`, times a factor; in memory, all heads of a token lie beside each other, as the projections
    made them."""
    kv_heads, rows, dim = states.shape
    states = states.view(kv_heads, rows // repeats, repeats, dim).transpose(0, 1)
    back = states.new_empty(states.shape, dtype=dtype)
    if factor == 1.0:
        back.copy_(states)
    else:
        torch.mul(states, factor, out=back)
    return back.view(1, -1, kv_heads * repeats, dim).transpose(1, 2)


def _weights(rows: Tensor, keys: Tensor, queries: int) -> Tensor:
    """[kv_heads, queries * repeats, keys] softmax of the scores, 0 where a query precedes a key of its own block.

    Args:
        rows: [kv_heads, queries * repeats, dim].
        keys: [kv_heads, dim, keys].
        queries: in this block.
    """
    scores = torch.bmm(rows, keys)
    seen = keys.shape[2]
    scores.narrow(2, seen - queries, queries).add_(_causal(queries, rows.shape[1] // queries, rows.dtype, rows.device))
    return scores.softmax(-1)


@lru_cache(maxsize=2 * BLOCK)
def _causal(size: int, repeats: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """[queries * repeats, keys] minus infinity at keys of its own block that a query does not see: adding takes half as
    long as `masked_fill_`."""
    mask = torch.full((size, size), -torch.inf, dtype=dtype, device=device).triu_(1)
    return mask.repeat_interleave(repeats, 0)


def _seen(states: Tensor, run: Run) -> Tensor:
    """[kv_heads, keys, dim] the keys or values that a run sees, itself last; a view where they lie together."""
    parts = [states[:, start:end] for start, end in run.ranges]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _gathered(gradient: Tensor, run: Run) -> Tensor:
    """Where the gradients of what `_seen` gives are added up: in place where that was a view."""
    if len(run.ranges) == 1:
        return _seen(gradient, run)
    return gradient.new_zeros((len(gradient), sum(end - start for start, end in run.ranges), gradient.shape[-1]))


def _scatter(gradient: Tensor, gathered: Tensor, run: Run) -> None:
    """Add [kv_heads, keys, dim] onto the places that `_seen` took them from."""
    if len(run.ranges) > 1:
        parts = gathered.split([end - start for start, end in run.ranges], dim=1)
        for (start, end), part in zip(run.ranges, parts, strict=True):
            gradient[:, start:end].add_(part)
