"""FlexAttention over packed sequences, for CUDA.

The block mask is computed on the host from the sequence's `reach`, so that neither a dense mask nor a wait for the
device is needed. The kernel is compiled for any length, with gradients and without, and once more for a single tile.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch._dynamo
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from quickalign.data.encode import IntArray

# FlexAttention's own tile of queries and keys.
TILE = 128
# How many versions of the kernel one process may need: evaluation, recomputation and other models each add some.
_VERSIONS = 64


def make_block_mask(reach: IntArray, device: torch.device) -> BlockMask:
    """The mask of a packed sequence: a query at q sees a key at k where k <= q < reach[k].

    Args:
        reach: [length] where each token is no longer seen (`PackedSequence`).
        device: where the mask is used.
    """
    length = len(reach)
    padded = _padded(reach)
    partial, whole = _tiles(padded)
    counts = [_ordered(tiles, device) for tiles in (partial, whole)]
    mask_mod = _mask_mod(torch.from_numpy(padded).to(device, non_blocking=True))
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


def _padded(reach: IntArray) -> IntArray:
    """`reach` up to the end of the last tile; what fills it sees itself alone."""
    whole = np.arange(1, -(-len(reach) // TILE) * TILE + 1, dtype=np.int32)
    whole[: len(reach)] = reach
    return whole


def _tiles(reach: IntArray) -> tuple[np.ndarray, np.ndarray]:
    """[tiles, tiles] of queries by keys: where some pairs are seen but not all, and where all are."""
    tiles = reach.reshape(-1, TILE)
    starts = np.arange(len(tiles))[:, None] * TILE
    earlier = np.tri(len(tiles), k=-1, dtype=bool)
    some = earlier & (tiles.max(axis=1) > starts) | np.eye(len(tiles), dtype=bool)
    every = earlier & (tiles.min(axis=1) >= starts + TILE)
    return some & ~every, every


def _ordered(tiles: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
    """FlexAttention's form of a block pattern: how many key tiles each query tile has, and which come first."""
    counts = tiles.sum(axis=1, dtype=np.int32)
    indices = np.argsort(~tiles, axis=1, kind="stable").astype(np.int32)
    as_tensors = (torch.from_numpy(array)[None, None].to(device, non_blocking=True) for array in (counts, indices))
    num_blocks, kv_indices = as_tensors
    return num_blocks, kv_indices


def _mask_mod(reach: Tensor) -> Callable[..., Tensor]:
    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        del batch, head
        return (key <= query) & (query < reach[key])

    return sees
