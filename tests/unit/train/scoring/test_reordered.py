import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import get_peft_model_state_dict
from torch import Tensor, nn

from quickalign.core.hyperparameters import Hyperparameters
from quickalign.train.model import add_adapter, make_policy
from quickalign.train.scoring import reordered
from quickalign.train.scoring.fused import fuse
from quickalign.train.scoring.reordered import ReorderedLinear, _switch, can_reorder, reorder

pytestmark = pytest.mark.skipif(not can_reorder(), reason="this machine multiplies no bf16 by oneDNN")

PARAMETERS = Hyperparameters(training_strategy="dpo", lora_dim=4, load_in_4bit=False)


@pytest.fixture(autouse=True)
def small_matrices_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reordered, "LEAST", 1)


def adapted(toys: SimpleNamespace, dtype: torch.dtype = torch.bfloat16) -> Any:
    model = add_adapter(toys.tiny_model(dtype), PARAMETERS)
    torch.manual_seed(3)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight, std=0.3)
    fuse(model)
    return model


def run(model: Any) -> list[Tensor]:
    logits = model(input_ids=torch.arange(40).view(2, 20)).logits
    logits.double().square().mean().backward()
    return [logits.detach(), *(p.grad for p in model.parameters() if p.grad is not None)]


def reordered_layers(model: nn.Module) -> int:
    return sum(isinstance(module, ReorderedLinear) for module in model.modules())


@pytest.mark.parametrize(("outputs", "inputs"), [(48, 32), (33, 37), (1, 5)])
def test_a_layer_multiplies_as_in_float64(outputs: int, inputs: int) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(inputs, outputs, dtype=torch.bfloat16).requires_grad_(False)
    exact = copy.deepcopy(layer).double()
    x = torch.randn(2, 7, inputs).bfloat16().requires_grad_()
    upstream = torch.randn(2, 7, outputs).bfloat16()
    wide = x.detach().double().requires_grad_()
    expected = [exact(wide), *torch.autograd.grad(exact(wide), wide, upstream.double())]
    before = layer.weight.clone()
    _switch(layer)
    assert isinstance(layer, ReorderedLinear)
    for one, other in zip([layer(x), *torch.autograd.grad(layer(x), x, upstream)], expected, strict=True):
        assert torch.allclose(one.double(), other, rtol=0.01, atol=0.02)
    assert torch.equal(layer.weight, before)
    layer.restore()
    assert type(layer) is nn.Linear
    assert torch.equal(layer.weight, before)


def test_values_and_gradients_are_the_same_to_the_bit(toys: SimpleNamespace) -> None:
    plain, changed = adapted(toys), adapted(toys)
    reorder(changed)
    assert reordered_layers(changed) == 2 * 7
    results = [run(model) for model in (plain, changed)]
    assert len(results[0]) == len(results[1]) == 1 + 2 * 2 * 7
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))
    with torch.no_grad(), plain.disable_adapter(), changed.disable_adapter():
        ids = torch.arange(9)[None]
        assert torch.equal(plain(input_ids=ids).logits, changed(input_ids=ids).logits)


def test_what_is_saved_and_what_is_merged_stay_the_same(toys: SimpleNamespace) -> None:
    plain, changed = adapted(toys), adapted(toys)
    reorder(changed)
    saved, expected = get_peft_model_state_dict(changed), get_peft_model_state_dict(plain)
    assert saved.keys() == expected.keys()
    assert all(torch.equal(saved[name], expected[name]) for name in saved)
    merged, wanted = changed.merge_and_unload().state_dict(), plain.merge_and_unload().state_dict()
    assert merged.keys() == wanted.keys()
    assert all(torch.equal(merged[name], wanted[name]) for name in merged)


def test_other_precisions_and_trained_matrices_stay(toys: SimpleNamespace) -> None:
    model = adapted(toys, torch.float32)
    reorder(model)
    assert reordered_layers(model) == 0
    full = PARAMETERS.model_copy(update={"lora_dim": 0})
    assert reordered_layers(make_policy(toys.tiny_model(), full, precision="bf16", reordered=True).model) == 0
    assert reordered_layers(make_policy(toys.tiny_model(torch.bfloat16), PARAMETERS, precision="bf16").model) == 0


def test_small_matrices_stay(toys: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reordered, "LEAST", 32 * 48)
    model = adapted(toys)
    reorder(model)
    assert reordered_layers(model) == 2 * 3  # the feed-forward parts of two layers
