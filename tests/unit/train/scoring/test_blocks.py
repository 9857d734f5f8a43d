from collections.abc import Sequence

import numpy as np
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._dynamo.testing import CompileCounter
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from quickalign.data.encode import IntArray
from quickalign.data.prefix_tree import PrefixTree, lay_out
from quickalign.train.scoring.blocks import block_attention, cut_runs, only_queries
from quickalign.train.scoring.flex import TILE, _padded, _tiles, flex_packed_attention
from tests.support.texts import TEXTS, as_ids, block_mask, of_lengths


def packed(texts: Sequence[IntArray]) -> tuple[PrefixTree, Tensor]:
    """The tree of some texts and, by definition, who sees whom: a token what stands before it in its texts, and itself."""
    tree = lay_out(texts)
    mask = torch.zeros(len(tree.ids), len(tree.ids), dtype=torch.bool)
    for places in tree.places:
        for length, query in enumerate(places.tolist(), start=1):
            mask[query, places[:length].tolist()] = True
    return tree, mask


def states(length: int, heads: int = 4, kv_heads: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(length)
    shapes = [(1, length, count, 8) for count in (heads, kv_heads, kv_heads)]
    query, key, value = (torch.randn(shape, dtype=torch.float64).transpose(1, 2).requires_grad_() for shape in shapes)
    return query, key, value


def masked(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    out = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=0.3, enable_gqa=True
    )
    return out.transpose(1, 2)


@settings(max_examples=40, deadline=None)
@given(TEXTS, st.integers(1, 5))
def test_blocks_attend_as_the_dense_mask_does(texts: list[list[int]], size: int) -> None:
    tree, mask = packed([as_ids(text) for text in texts])
    assume(length := len(tree.ids))
    parts = states(length)
    upstream = torch.randn(1, length, 4, 8, dtype=torch.float64)
    expected = masked(*parts, mask)
    expected_gradients = torch.autograd.grad(expected, parts, upstream)
    found = block_attention(*parts, 0.3, cut_runs(tree.reach, size))
    gradients = torch.autograd.grad(found, parts, upstream)
    for one, other in zip([found, *gradients], [expected, *expected_gradients], strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-11)


@settings(max_examples=40, deadline=None)
@given(TEXTS, st.integers(1, 5), st.data())
def test_some_queries_find_what_they_find_among_all(texts: list[list[int]], size: int, data: st.DataObject) -> None:
    tree, mask = packed([as_ids(text) for text in texts])
    assume(length := len(tree.ids))
    places = data.draw(st.lists(st.integers(0, length - 1), min_size=1, unique=True))
    if data.draw(st.booleans()):
        places.sort()
    query, key, value = parts = states(length)
    upstream = torch.randn(1, len(places), 4, 8, dtype=torch.float64)
    expected = masked(*parts, mask)[:, places]
    expected_gradients = torch.autograd.grad(expected, parts, upstream)
    runs = only_queries(cut_runs(tree.reach), places, size)
    found = block_attention(query[:, :, places], key, value, 0.3, runs)
    gradients = torch.autograd.grad(found, parts, upstream)
    for one, other in zip([found, *gradients], [expected, *expected_gradients], strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-11)


def test_autocast_casts_what_goes_in_and_no_score() -> None:
    tree, _ = packed(of_lengths((30, [9, 12])))
    parts = [part.detach().float() for part in states(len(tree.ids))]
    runs = cut_runs(tree.reach)
    expected = block_attention(*(part.bfloat16() for part in parts), 0.3, runs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = block_attention(*parts, 0.3, runs)
    assert torch.equal(found, expected)


def test_flex_attends_as_the_dense_mask_does() -> None:
    tree, mask = packed(of_lengths((150, [40, 130]), (3, [7, 0, 9]), (0, [20, 5])))
    parts = states(len(tree.ids))
    q, k, v = (part.detach() for part in parts)  # on the CPU it has no backward pass
    found = flex_packed_attention(q, k, v, 0.3, block_mask(tree.reach))
    assert torch.allclose(found, masked(*parts, mask), atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 200), st.lists(st.integers(0, 200), min_size=1, max_size=3)), min_size=1, max_size=3
    )
)
def test_flex_tiles_are_exactly_those_of_the_mask(shape: list[tuple[int, list[int]]]) -> None:
    tree, inner = packed(of_lengths(*shape))
    assume(length := len(tree.ids))
    padded = -(-length // TILE) * TILE
    mask = torch.eye(padded, dtype=torch.bool)
    mask[:length, :length] = inner
    cells = mask.view(padded // TILE, TILE, padded // TILE, TILE).transpose(1, 2).flatten(2)
    block = block_mask(tree.reach)
    query, key = torch.arange(padded)[:, None], torch.arange(padded)[None, :]
    assert torch.equal(block.mask_mod(torch.tensor(0), torch.tensor(0), query, key), mask)
    assert torch.equal(block.to_dense()[0, 0].bool(), cells.any(-1))
    derived = BlockMask.from_kv_blocks(
        block.kv_num_blocks, block.kv_indices, block.full_kv_num_blocks, block.full_kv_indices, mask_mod=block.mask_mod
    )
    for name in ("q_num_blocks", "q_indices", "full_q_num_blocks", "full_q_indices"):
        assert torch.equal(getattr(block, name), getattr(derived, name)), name
    partial, whole = _tiles(_padded(tree.reach))
    assert np.array_equal(whole, cells.all(-1).numpy())
    assert np.array_equal(partial, (cells.any(-1) & ~cells.all(-1)).numpy())


def test_two_versions_of_the_kernel_serve_all_lengths() -> None:
    counter = CompileCounter()
    attend = torch.compile(flex_attention, dynamic=True, fullgraph=True, backend=counter)
    for length in (30, 128, 200, 1000, 37, 2500):
        query, key = torch.randn(1, 4, length, 16), torch.randn(1, 2, length, 16)
        prompt = length // 2
        reach = lay_out(of_lengths((prompt, [7, length - prompt - 7]))).reach
        mask = block_mask(reach)
        with torch.no_grad():
            attend(query, key, key, block_mask=mask, scale=0.3, enable_gqa=True)
    assert counter.frame_count == 2  # one tile, and more
