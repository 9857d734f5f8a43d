from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    GlmConfig,
    GlmForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from transformers.models.qwen2.modeling_qwen2 import apply_rotary_pos_emb

from quickalign.train.scoring.attention import use_packed_attention
from quickalign.train.scoring.own_attention import OwnAttention, Rotation, leave_own_attention, use_own_attention
from quickalign.train.scoring.packed import PackedScorer
from tests.support.small_models import SMALL


def own_layers(model: nn.Module) -> int:
    return sum(isinstance(module, OwnAttention) for module in model.modules())


def scores_and_gradients(toys: SimpleNamespace, model: Any) -> list[Tensor]:
    micro = PackedScorer(token_budget=10_000, device=torch.device("cpu")).cut(toys.random_pairs(9))[0]
    sums = PackedScorer(token_budget=10_000, device=torch.device("cpu")).logps(model, micro).sums
    (sums * torch.arange(1, sums.numel() + 1).view_as(sums).cos()).sum().backward()
    return [sums.detach(), *toys.gradients(model).values()]


@pytest.mark.parametrize(
    ("model", "config"),
    [
        (LlamaForCausalLM, LlamaConfig),
        (Qwen3ForCausalLM, Qwen3Config),
        (GraniteForCausalLM, GraniteConfig),
        (None, None),
    ],
)
def test_values_and_gradients_are_those_of_transformers(toys: SimpleNamespace, model: Any, config: Any) -> None:
    torch.manual_seed(0)
    base = toys.tiny_model() if model is None else model(config(**SMALL)).double()
    policy = toys.with_adapter(base)
    use_packed_attention(base)
    expected = scores_and_gradients(toys, policy)
    use_own_attention(base)
    assert own_layers(base) == 2
    found = scores_and_gradients(toys, policy)
    assert len(found) == len(expected) == 1 + 2 * 2 * 7
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-9 * max(1.0, float(other.abs().max())))


def test_only_the_last_layer_leaves_queries_out(toys: SimpleNamespace) -> None:
    base = toys.tiny_model()
    use_packed_attention(base)
    use_own_attention(base)
    seen: list[list[int]] = [[], []]
    for layer, lengths in zip(base.model.layers, seen, strict=True):
        for name in ("q_proj", "k_proj", "o_proj"):
            part = getattr(layer.self_attn, name)
            part.register_forward_hook(lambda _, inputs, __, lengths=lengths: lengths.append(inputs[0].shape[1]))
    scorer = PackedScorer(token_budget=10_000, device=torch.device("cpu"))
    micro = scorer.cut(toys.random_pairs(6))[0]
    scorer.logps(base, micro)
    tokens, places = micro.inputs["input_ids"].numel(), len(micro.places)
    assert places < tokens
    assert seen == [[tokens] * 3, [places, tokens, places]]


def test_it_is_switched_once_and_back(toys: SimpleNamespace) -> None:
    base = toys.tiny_model()
    before = [type(layer.self_attn) for layer in base.model.layers]
    use_packed_attention(base)
    use_own_attention(base)
    use_own_attention(base)
    assert own_layers(base) == 2
    assert all(isinstance(layer.self_attn, kind) for layer, kind in zip(base.model.layers, before, strict=True))
    leave_own_attention(base)
    assert [type(layer.self_attn) for layer in base.model.layers] == before


def test_plain_rows_and_generation_stay_what_they_are(toys: SimpleNamespace) -> None:
    base = toys.tiny_model(torch.float32)
    ids = torch.arange(1, 11)[None]
    expected = base(input_ids=ids).logits, base.generate(ids, max_new_tokens=5, do_sample=False, use_cache=True)
    use_packed_attention(base)
    use_own_attention(base)
    assert own_layers(base) == 2
    assert torch.equal(base(input_ids=ids).logits, expected[0])
    assert torch.equal(base.generate(ids, max_new_tokens=5, do_sample=False, use_cache=True), expected[1])


@pytest.mark.parametrize(
    ("model", "config"),
    [(CohereForCausalLM, CohereConfig), (GlmForCausalLM, GlmConfig), (Olmo2ForCausalLM, Olmo2Config)],
)
def test_other_rotations_and_norms_stay(model: Any, config: Any) -> None:
    base: PreTrainedModel = model(config(**SMALL))
    use_packed_attention(base)
    use_own_attention(base)
    assert own_layers(base) == 0


@pytest.mark.parametrize(
    ("dtype", "angle"),
    [(torch.bfloat16, torch.bfloat16), (torch.float32, torch.float32), (torch.bfloat16, torch.float32)],
    ids=["bf16", "fp32", "autocast"],
)
def test_heads_are_rotated_to_the_bit_as_transformers_does(dtype: torch.dtype, angle: torch.dtype) -> None:
    torch.manual_seed(0)
    heads = torch.randn(1, 30, 4, 8, dtype=dtype, requires_grad=True)
    angles = (torch.arange(30)[:, None] * torch.tensor([1.0, 0.3, 0.1, 0.02])).repeat(1, 2)[None]
    cos, sin = angles.cos().to(angle), angles.sin().to(angle)
    theirs = apply_rotary_pos_emb(heads.transpose(1, 2), heads.transpose(1, 2), cos, sin)[0].transpose(1, 2)
    ours = Rotation.of(cos, sin).apply(heads)
    assert torch.equal(ours, theirs)
    upstream = torch.randn_like(theirs)
    found, expected = (torch.autograd.grad(one, heads, upstream)[0] for one in (ours, theirs))
    assert torch.allclose(found, expected, rtol=0, atol=4 * torch.finfo(dtype).eps)
    places = torch.tensor([3, 29, 0])
    assert torch.equal(Rotation.of(cos, sin).at(places).apply(heads[:, places]), theirs[:, places])
