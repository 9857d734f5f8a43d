import numpy as np
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._dynamo.testing import CompileCounter
from torch.nn.attention.flex_attention import flex_attention

from quickalign.data.pack import Group
from quickalign.train.scoring.blocks import block_attention, cut_blocks
from quickalign.train.scoring.flex import TILE, _bounds, _tiles, flex_packed_attention, make_block_mask

lengths = st.lists(
    st.tuples(st.integers(0, 9), st.lists(st.integers(0, 9), min_size=1, max_size=4)), min_size=1, max_size=3
)


def make_groups(shape: list[tuple[int, list[int]]]) -> list[Group]:
    groups, at = [], 0
    for prompt, answers in shape:
        starts = np.cumsum([at + prompt, *answers]).tolist()
        groups.append(Group(at, tuple(starts)))
        at = starts[-1]
    return groups


def dense(groups: list[Group]) -> Tensor:
    """The definition: a token sees its own group's prompt and its own answer, up to itself."""
    owner = []
    for number, group in enumerate(groups):
        owner += [(number, -1)] * group.prompt
        for answer, (start, end) in enumerate(zip(group.answers[:-1], group.answers[1:], strict=True)):
            owner += [(number, answer)] * (end - start)
    sees = [
        [k <= q and owner[k][0] == owner[q][0] and owner[k][1] in (-1, owner[q][1]) for k in range(len(owner))]
        for q in range(len(owner))
    ]
    return torch.tensor(sees, dtype=torch.bool).view(len(owner), len(owner))


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
@given(lengths, st.integers(1, 5))
def test_blocks_attend_as_the_dense_mask_does(shape: list[tuple[int, list[int]]], size: int) -> None:
    groups = make_groups(shape)
    length = groups[-1].end
    if length == 0:
        return
    parts = states(length)
    upstream = torch.randn(1, length, 4, 8, dtype=torch.float64)
    expected = masked(*parts, dense(groups))
    expected_gradients = torch.autograd.grad(expected, parts, upstream)
    found = block_attention(*parts, 0.3, cut_blocks(groups, size))
    gradients = torch.autograd.grad(found, parts, upstream)
    for one, other in zip([found, *gradients], [expected, *expected_gradients], strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-11)


def test_flex_attends_as_the_dense_mask_does() -> None:
    groups = make_groups([(150, [40, 130]), (3, [7, 0, 9]), (0, [20, 5])])
    length = groups[-1].end
    parts = states(length)
    q, k, v = (part.detach() for part in parts)  # on the CPU it has no backward pass
    found = flex_packed_attention(q, k, v, 0.3, make_block_mask(groups, torch.device("cpu")))
    assert torch.allclose(found, masked(*parts, dense(groups)), atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 200), st.lists(st.integers(0, 200), min_size=1, max_size=3)), min_size=1, max_size=3
    )
)
def test_flex_tiles_are_exactly_those_of_the_mask(shape: list[tuple[int, list[int]]]) -> None:
    groups = make_groups(shape)
    assume(length := groups[-1].end)
    padded = -(-length // TILE) * TILE
    mask = torch.eye(padded, dtype=torch.bool)
    mask[:length, :length] = dense(groups)
    cells = mask.view(padded // TILE, TILE, padded // TILE, TILE).transpose(1, 2).flatten(2)
    block = make_block_mask(groups, torch.device("cpu"))
    query, key = torch.arange(padded)[:, None], torch.arange(padded)[None, :]
    assert torch.equal(block.mask_mod(torch.tensor(0), torch.tensor(0), query, key), mask)
    assert torch.equal(block.to_dense()[0, 0].bool(), cells.any(-1))
    partial, whole = _tiles(*_bounds(groups, padded))
    assert np.array_equal(whole, cells.all(-1).numpy())
    assert np.array_equal(partial, (cells.any(-1) & ~cells.all(-1)).numpy())


def test_two_versions_of_the_kernel_serve_all_lengths() -> None:
    counter = CompileCounter()
    attend = torch.compile(flex_attention, dynamic=True, fullgraph=True, backend=counter)
    for length in (30, 128, 200, 1000, 37, 2500):
        query, key = torch.randn(1, 4, length, 16), torch.randn(1, 2, length, 16)
        mask = make_block_mask([Group(0, (length // 2, length - 7, length))], torch.device("cpu"))
        with torch.no_grad():
            attend(query, key, key, block_mask=mask, scale=0.3, enable_gqa=True)
    assert counter.frame_count == 2  # one tile, and more
