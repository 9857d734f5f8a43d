"""What only a CUDA device can run: the compiled masked kernel and the packed scorer on it."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from quickalign.data.prefix_tree import lay_out
from quickalign.train.scoring.attention import AttentionKind, use_packed_attention
from quickalign.train.scoring.blocks import block_attention, cut_runs
from quickalign.train.scoring.flex import flex_packed_attention
from quickalign.train.scoring.fused import FusedNorm, fuse
from quickalign.train.scoring.graphs import CudaRecord, GraphScorer
from quickalign.train.scoring.packed import PackedScorer
from quickalign.train.scoring.plain import PlainScorer
from quickalign.train.scoring.reference import LiveReference
from tests.support.texts import block_mask, of_lengths

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 2), (14, 2), (4, 4)])
def test_the_compiled_kernel_attends_as_the_blocks_do(heads: int, kv_heads: int) -> None:
    device = torch.device("cuda")
    reach = lay_out(of_lengths((200, [60, 140]), (3, [7, 10]), (0, [20]))).reach
    length = len(reach)
    torch.manual_seed(0)
    query, key, value = (
        torch.randn(1, length, count, 64, device=device).transpose(1, 2).requires_grad_()
        for count in (heads, kv_heads, kv_heads)
    )
    upstream = torch.randn(1, length, heads, 64, device=device)
    found = flex_packed_attention(query, key, value, 0.125, block_mask(reach, "cuda"))
    gradients = torch.autograd.grad(found, (query, key, value), upstream)
    expected = block_attention(query, key, value, 0.125, cut_runs(reach))
    expected_gradients = torch.autograd.grad(expected, (query, key, value), upstream)
    for one, other in zip([found, *gradients], [expected, *expected_gradients], strict=True):
        assert torch.allclose(one, other, atol=2e-2)


@pytest.mark.parametrize("attention", [None, "dense"])
def test_packed_logps_and_gradients_are_those_of_plain_rows(
    toys: SimpleNamespace, attention: AttentionKind | None
) -> None:
    device = torch.device("cuda")
    model = toys.tiny_model(torch.float32, hidden_size=64, num_attention_heads=4, num_key_value_heads=2)
    model = toys.with_adapter(model, torch.float32).to(device)
    use_packed_attention(model.get_base_model())
    rows = toys.random_pairs(20, longest=40)
    results = []
    for scorer in (
        PlainScorer(pad_id=0, rows_per_micro=4, device=device),
        PackedScorer(token_budget=512, device=device, attention=attention),
    ):
        sums = np.zeros((len(rows), 2))
        for micro in scorer.cut(rows):
            scored = scorer.logps(model, micro).sums
            scored.sum().backward()
            sums[list(micro.rows)] = scored.detach().cpu().numpy()
        results.append((sums, toys.gradients(model)))
    assert np.allclose(results[0][0], results[1][0], rtol=1e-3, atol=1e-2)
    for name, gradient in results[0][1].items():
        scale = max(1.0, float(gradient.abs().max()))
        assert torch.allclose(results[1][1][name], gradient, atol=1e-2 * scale), name


def test_torchs_norm_kernel_gives_what_transformers_gives(toys: SimpleNamespace) -> None:
    model = toys.tiny_model(torch.float32).requires_grad_(False).to("cuda")
    norm = model.model.norm
    torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
    stream = torch.randn(2, 9, 32, device="cuda", requires_grad=True)
    upstream = torch.randn(2, 9, 32, device="cuda")
    results = []
    for fused in (False, True):
        if fused:
            fuse(model)
            assert type(norm) is FusedNorm
        results.append([norm(stream), *torch.autograd.grad(norm(stream), stream, upstream)])
    for one, other in zip(*results, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_graphs_give_what_the_passes_give(toys: SimpleNamespace, checkpointing: bool) -> None:
    device = torch.device("cuda")
    model = toys.tiny_model(torch.float32, hidden_size=64, num_attention_heads=4, num_key_value_heads=2)
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False, "preserve_rng_state": False})
    model = toys.with_adapter(model, torch.float32).to(device).train()
    use_packed_attention(model.get_base_model())
    packed = PackedScorer(token_budget=2048, device=device)
    graphs = GraphScorer(packed, model, CudaRecord())
    for count, seed in ((8, 0), (8, 1), (40, 2), (8, 3), (41, 4), (20, 5), (40, 6)):
        rows = toys.random_pairs(count, seed=seed, longest=30)
        results = []
        for scorer in (packed, graphs):
            (micro,) = scorer.cut(rows)
            reference = LiveReference(scorer).logps(model, micro, rows)
            sums = scorer.logps(model, micro).sums
            loss = -torch.nn.functional.logsigmoid((sums - reference) @ torch.tensor([0.1, -0.1], device=device)).sum()
            loss.backward()
            results.append(
                [reference, sums.detach(), *(gradient.clone() for gradient in toys.gradients(model).values())]
            )
            del sums, loss
        for one, other in zip(*results, strict=True):
            assert torch.allclose(one, other, rtol=1e-4, atol=1e-5)
    recorded = {size[2:] for size in graphs._passes}
    assert recorded == {(False, False), (True, True)}
