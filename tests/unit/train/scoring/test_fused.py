from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import Gemma2Config, Gemma2ForCausalLM

from quickalign.core.hyperparameters import Hyperparameters
from quickalign.train.model import add_adapter
from quickalign.train.scoring.fused import FusedFeedForward, FusedNorm, fuse

PARAMETERS = Hyperparameters(training_strategy="dpo", lora_dim=4, load_in_4bit=False)


def adapted(toys: SimpleNamespace, dtype: torch.dtype, **options: Any) -> Any:
    model = add_adapter(toys.tiny_model(dtype), PARAMETERS.model_copy(update=options))
    torch.manual_seed(3)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight, std=0.3)
        if dtype == torch.float64 and "lora_" in name:
            weight.data = weight.data.double()
        if name.endswith("norm.weight"):
            nn.init.uniform_(weight, 0.5, 1.5)
    return model


def run(model: Any) -> list[Tensor]:
    logits = model(input_ids=torch.arange(40).view(2, 20)).logits
    logits.double().square().mean().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return [logits.detach(), *gradients]


def fused_kinds(model: nn.Module) -> list[type]:
    return [type(m) for m in model.modules() if isinstance(m, FusedNorm | FusedFeedForward)]


@pytest.mark.parametrize("options", [{}, {"use_dora": True}, {"target_modules": "q_proj,gate_proj"}])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 2e-5)])
def test_values_and_gradients_are_those_of_transformers(
    toys: SimpleNamespace, dtype: torch.dtype, tolerance: float, options: dict[str, Any]
) -> None:
    results = []
    for fused in (False, True):
        model = adapted(toys, dtype, **options)
        if fused:
            fuse(model)
            assert fused_kinds(model).count(FusedFeedForward) == 2
        results.append(run(model))
    assert len(results[0]) == len(results[1]) > 3
    for one, other in zip(*results, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=tolerance * max(1.0, float(other.abs().max())))


def test_bf16_gives_the_same_within_rounding(toys: SimpleNamespace) -> None:
    model = adapted(toys, torch.bfloat16).eval()
    ids = torch.arange(40).view(2, 20)
    with torch.no_grad():
        expected = model(input_ids=ids).logits
        fuse(model)
        assert len(fused_kinds(model)) == 2 + 5  # two layers: a feed-forward part and two norms each, and the last norm
        assert torch.allclose(model(input_ids=ids).logits, expected, rtol=0.02, atol=0.02)


def test_a_norm_keeps_its_scale_and_its_gradient(toys: SimpleNamespace) -> None:
    exact = nn.RMSNorm(16, eps=1e-5, dtype=torch.float64).requires_grad_(False)
    nn.init.uniform_(exact.weight, 0.5, 1.5)
    inputs = torch.randn(3, 16, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(3, 16, dtype=torch.float64)
    expected = [exact(inputs), *torch.autograd.grad(exact(inputs), inputs, upstream)]
    exact.variance_epsilon = 1e-5  # type: ignore[assignment]
    fuse(exact)
    assert type(exact) is FusedNorm
    found = [exact(inputs), *torch.autograd.grad(exact(inputs), inputs, upstream)]
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-12)


def test_another_activation_and_another_norm_stay(toys: SimpleNamespace) -> None:
    gelu = toys.tiny_model(torch.float32, hidden_act="gelu").requires_grad_(False)
    fuse(gelu)
    assert FusedFeedForward not in fused_kinds(gelu)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    gemma = Gemma2ForCausalLM(Gemma2Config(**shape, num_key_value_heads=1, head_dim=16, vocab_size=50))
    fuse(gemma.requires_grad_(False))
    assert not fused_kinds(gemma)


def test_a_part_that_does_something_else_stays(toys: SimpleNamespace) -> None:
    model = toys.tiny_model(torch.float32).requires_grad_(False)
    part = model.model.layers[0].mlp
    doubled = type("Doubled", (type(part),), {"forward": lambda self, x: 2 * super(type(part), self).forward(x)})
    part.__class__ = doubled
    before = part(torch.ones(1, 2, 32))
    fuse(model)
    assert type(part) is doubled
    assert torch.equal(part(torch.ones(1, 2, 32)), before)


def test_trained_norms_stay(toys: SimpleNamespace) -> None:
    model = toys.tiny_model(torch.float32)
    fuse(model)
    assert FusedNorm not in fused_kinds(model)


def test_a_backward_pass_computes_silu_once_and_may_be_repeated(toys: SimpleNamespace) -> None:
    model = adapted(toys, torch.float64)
    fuse(model)
    part = model.base_model.model.model.layers[0].mlp
    inputs = torch.randn(1, 5, 32, dtype=torch.float64, requires_grad=True)
    weights = [inputs, *(weight for weight in part.parameters() if weight.requires_grad)]
    result = part(inputs)
    with Counted() as counted:
        first = torch.autograd.grad(result.sum(), weights, retain_graph=True)
    assert counted.silus == 1
    second = torch.autograd.grad(result.sum(), weights)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


class Counted(TorchDispatchMode):
    """How often silu is computed."""

    silus = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.silus += operation is torch.ops.aten.silu.default
        return operation(*args, **(kwargs or {}))
