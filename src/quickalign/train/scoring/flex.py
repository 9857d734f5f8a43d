"""FlexAttention over packed sequences, for CUDA.

The block mask is computed on the host from the groups, so that neither a dense mask nor a wait for the device is
needed. The kernel is compiled for any length, with gradients and without, and once more for a single tile.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch._dynamo
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from quickalign.data.encode import IntArray
from quickalign.data.pack import Group

# FlexAttention's own tile of queries and keys.
TILE = 128
# How many versions of the kernel one process may need: evaluation, recomputation and other models each add some.
_VERSIONS = 64


def make_block_mask(groups: Sequence[Group], device: torch.device) -> BlockMask:
    """The mask of the packed sequence of `groups`.

    A query sees a key from its group's start to itself, except in the gap between the prompt's end and its own answer's
    start.
    """
    length = groups[-1].end
    first, gap_start, gap_end = _bounds(groups, -(-length // TILE) * TILE)
    partial, whole = _tiles(first, gap_start, gap_end)
    bounds = [torch.from_numpy(bound).to(device, non_blocking=True) for bound in (first, gap_start, gap_end)]
    counts = [_ordered(tiles, device) for tiles in (partial, whole)]
    mask_mod = _mask_mod(*bounds)
    return BlockMask.from_kv_blocks(
        *counts[0], *counts[1], BLOCK_SIZE=TILE, mask_mod=mask_mod, seq_lengths=(length, length)
    )


def flex_packed_attention(query: Tensor, key: Tensor, value: Tensor, scaling: float, mask: BlockMask) -> Tensor:
    """As `blocks.block_attention`: [1, heads, length, dim] -> [1, length, heads, dim]."""
    attend: Any = _compiled() if query.is_cuda else flex_attention
    grouped = key.shape[1] != query.shape[1]
    out = attend(query, key, value, block_mask=mask, scale=scaling, enable_gqa=grouped)
    return out.transpose(1, 2).contiguous()  # type: ignore[no-any-return]


@lru_cache(maxsize=1)
def _compiled() -> Callable[..., Any]:
    """Without `fullgraph`, torch would silently attend over dense scores once it had compiled too many versions."""
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, _VERSIONS)
    return torch.compile(flex_attention, dynamic=True, fullgraph=True)


def _bounds(groups: Sequence[Group], length: int) -> tuple[IntArray, IntArray, IntArray]:
    """For each of `length` queries: its group's start, and the start and end of the gap that it does not see.

    What fills the last tile sees itself alone.
    """
    first, gap_start, gap_end = (np.empty(length, dtype=np.int32) for _ in range(3))
    for group in groups:
        first[group.start : group.end] = group.start
        gap_start[group.start : group.end] = group.answers[0]
        gap_end[group.start : group.answers[0]] = group.answers[0]
        for start, end in zip(group.answers[:-1], group.answers[1:], strict=True):
            gap_end[start:end] = start
    end = groups[-1].end
    first[end:] = gap_start[end:] = gap_end[end:] = np.arange(end, length)
    return first, gap_start, gap_end


def _tiles(first: IntArray, gap_start: IntArray, gap_end: IntArray) -> tuple[np.ndarray, np.ndarray]:
    """[tiles, tiles] of queries by keys: where some pairs are seen but not all, and where all are."""
    count = len(first) // TILE
    queries = np.arange(len(first)).reshape(count, TILE)
    low = np.arange(count) * TILE
    some, every = np.zeros((count, count), dtype=bool), np.zeros((count, count), dtype=bool)
    rows = [bound.reshape(count, TILE) for bound in (first, gap_start, gap_end)]
    for tile in range(count):
        start, gap, resume = (row[tile, :, None] for row in rows)
        last = queries[tile, :, None]
        high = low + TILE - 1
        before = (start < gap) & (low < gap) & (high >= start) & (low <= last)
        after = (high >= resume) & (low <= last)
        some[tile] = (before | after).any(axis=0)
        inside = (low >= start) & (high <= last)
        every[tile] = (inside & ((high < gap) | (low >= resume) | (gap == resume))).all(axis=0)
    return some & ~every, every


def _ordered(tiles: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
    """FlexAttention's form of a block pattern: how many key tiles each query tile has, and which come first."""
    counts = tiles.sum(axis=1, dtype=np.int32)
    indices = np.argsort(~tiles, axis=1, kind="stable").astype(np.int32)
    as_tensors = (torch.from_numpy(array)[None, None].to(device, non_blocking=True) for array in (counts, indices))
    num_blocks, kv_indices = as_tensors
    return num_blocks, kv_indices


def _mask_mod(first: Tensor, gap_start: Tensor, gap_end: Tensor) -> Callable[..., Tensor]:
    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        del batch, head
        in_gap = (key >= gap_start[query]) & (key < gap_end[query])
        return (key <= query) & (key >= first[query]) & ~in_gap

    return sees
