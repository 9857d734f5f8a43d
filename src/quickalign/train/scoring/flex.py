"""FlexAttention over packed sequences, for CUDA.

The block mask is computed on the host from the sequence's `reach`, for both directions, so that neither a dense mask
nor a wait for the device is needed. The kernel is compiled for any length, with gradients and without, and once more
for a single tile.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from quickalign.data.encode import IntArray
from quickalign.train.scoring.compiled import for_gpu
from quickalign.train.scoring.sizes import GPU_ATTENTION_TILE

# FlexAttention's own tile of queries and keys.
TILE = GPU_ATTENTION_TILE


def mask_parts(reach: IntArray) -> list[np.ndarray]:
    """What a kernel reads of the mask in which a query at q sees a key at k where k <= q < reach[k].

    Args:
        reach: [length] where each token is no longer seen (`PackedSequence`).

    Returns:
        int32 arrays: `reach` up to the end of the last tile; of the tiles that are seen in part, how many each query
        tile has and which come first, the same for each key tile; then those of the tiles that are seen whole.
    """
    padded = _padded(reach)
    return [padded, *(part for tiles in _tiles(padded) for way in (tiles, tiles.T) for part in _ordered(way))]


def make_block_mask(parts: Sequence[Tensor], length: int) -> BlockMask:
    """The mask of a packed sequence of `length` tokens from its `mask_parts`, wherever they lie now."""
    reach, *blocks = parts
    kv_num_blocks, kv_indices, q_num_blocks, q_indices = blocks[:4]
    full_kv_num_blocks, full_kv_indices, full_q_num_blocks, full_q_indices = blocks[4:]
    return BlockMask(
        seq_lengths=(length, length),
        kv_num_blocks=kv_num_blocks,
        kv_indices=kv_indices,
        full_kv_num_blocks=full_kv_num_blocks,
        full_kv_indices=full_kv_indices,
        q_num_blocks=q_num_blocks,
        q_indices=q_indices,
        full_q_num_blocks=full_q_num_blocks,
        full_q_indices=full_q_indices,
        BLOCK_SIZE=(TILE, TILE),
        mask_mod=_mask_mod(reach),
    )


def flex_packed_attention(query: Tensor, key: Tensor, value: Tensor, scaling: float, mask: BlockMask) -> Tensor:
    """As `blocks.block_attention`: [1, heads, length, dim] -> [1, length, heads, dim]."""
    attend: Any = for_gpu(flex_attention) if query.is_cuda else flex_attention
    heads, kv_heads = query.shape[1], key.shape[1]
    # Heads that share keys become a batch. As one group, the kernel's backward pass would go through them one after
    # another in as many programs as there are key tiles: 336 microseconds at Qwen2-0.5B's shape with 1,152 tokens.
    queries = query[0].unflatten(0, (kv_heads, -1)).transpose(0, 1)
    keys, values = (states.expand(heads // kv_heads, -1, -1, -1) for states in (key, value))
    out = attend(queries, keys, values, block_mask=mask, scale=scaling)
    return out.permute(2, 1, 0, 3).reshape(1, query.shape[2], heads, -1)  # type: ignore[no-any-return]


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


def _ordered(tiles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """FlexAttention's form of a block pattern: [1, 1, tiles] how many others each tile has, [1, 1, tiles, tiles] which
    come first."""
    counts = tiles.sum(axis=1, dtype=np.int32)
    indices = np.argsort(~tiles, axis=1, kind="stable").astype(np.int32)
    return counts[None, None], indices[None, None]


def _mask_mod(reach: Tensor) -> Callable[..., Tensor]:
    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        del batch, head
        return (key <= query) & (query < reach[key])

    return sees
