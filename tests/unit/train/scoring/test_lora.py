import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from torch import nn

from quickalign.train.scoring.lora import FastLinear, use_fast_lora
from quickalign.train.scoring.quantized import keep_differentiable


def adapted(toys: SimpleNamespace, *, fast: bool, dtype: torch.dtype = torch.float64, **changes: Any) -> Any:
    model = toys.tiny_model(dtype)
    torch.manual_seed(3)
    settings: dict[str, Any] = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "init_lora_weights": False}
    config = LoraConfig(task_type="CAUSAL_LM", **settings | changes)
    if fast:
        use_fast_lora(config)
    peft = get_peft_model(model, config)
    if dtype == torch.float64:
        peft.to(dtype)
    return peft


def run(model: Any) -> list[torch.Tensor]:
    ids = torch.arange(20).view(2, 10)
    logits = model(input_ids=ids).logits
    logits.float().square().mean().backward()
    return [logits.detach(), *(p.grad for p in model.parameters() if p.requires_grad)]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-5)])
@pytest.mark.parametrize("changes", [{}, {"use_rslora": True}, {"lora_bias": True}, {"use_dora": True}])
def test_results_are_those_of_peft(
    toys: SimpleNamespace, dtype: torch.dtype, tolerance: float, changes: dict[str, Any]
) -> None:
    expected, found = (run(adapted(toys, fast=fast, dtype=dtype, **changes)) for fast in (False, True))
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=tolerance, atol=tolerance * max(1.0, float(other.abs().max())))


def test_bf16_is_as_close_to_exact_as_peft(toys: SimpleNamespace) -> None:
    exact = run(adapted(toys, fast=False, dtype=torch.float32))
    errors = []
    for fast in (False, True):
        model = adapted(toys, fast=fast, dtype=torch.bfloat16)
        found = run(model)
        assert all(part.dtype == torch.float32 for part in found[1:])
        errors.append(sum(float((a.float() - b).norm() / b.norm()) for a, b in zip(found, exact, strict=True)))
    assert errors[1] < 1.5 * errors[0]


def test_dropout_is_pefts(toys: SimpleNamespace) -> None:
    results = []
    for fast in (False, True):
        model = adapted(toys, fast=fast, lora_dropout=0.5).train()
        torch.manual_seed(5)
        results.append(run(model))
    for one, other in zip(*results, strict=True):
        assert torch.allclose(one, other, atol=1e-10)


def test_disabling_and_merging_still_work(toys: SimpleNamespace) -> None:
    model = adapted(toys, fast=True)
    ids = torch.arange(10)[None]
    with torch.no_grad():
        before = model(input_ids=ids).logits
        with model.disable_adapter():
            assert torch.equal(model(input_ids=ids).logits, toys.tiny_model()(input_ids=ids).logits)
        merged = model.merge_and_unload()
        assert torch.allclose(merged(input_ids=ids).logits, before, atol=1e-10)


def test_what_is_saved_is_pefts_layout(toys: SimpleNamespace, tmp_path: Path) -> None:
    files = {}
    for fast in (False, True):
        folder = tmp_path / str(fast)
        adapted(toys, fast=fast).save_pretrained(folder)
        config = json.loads((folder / "adapter_config.json").read_text())
        files[fast] = (config, load_file(folder / "adapter_model.safetensors"))
    assert files[True][0] == files[False][0]
    assert files[True][1].keys() == files[False][1].keys()
    assert all(torch.equal(files[True][1][name], files[False][1][name]) for name in files[True][1])


def test_the_fast_layers_are_used(toys: SimpleNamespace) -> None:
    layers = [m for m in adapted(toys, fast=True).modules() if isinstance(m, FastLinear)]
    assert len(layers) == 2 * 7
    assert not any(isinstance(m, FastLinear) for m in adapted(toys, fast=True, use_dora=True).modules())


@pytest.mark.parametrize("bits", [4, 8])
def test_a_quantised_base_gives_what_peft_gives(bits: int) -> None:
    bnb = pytest.importorskip("bitsandbytes")
    results = []
    for fast in (False, True):
        torch.manual_seed(0)
        weights = nn.Linear(64, 64, bias=False)
        if bits == 4:
            layer: nn.Module = bnb.nn.Linear4bit(64, 64, bias=False, compute_dtype=torch.float32, quant_type="nf4")
        else:
            layer = bnb.nn.Linear8bitLt(64, 64, bias=False, has_fp16_weights=False)
        layer.load_state_dict(weights.state_dict())
        model = nn.Sequential(layer).to("cpu")
        model.is_loaded_in_8bit, model.is_loaded_in_4bit = bits == 8, bits == 4  # type: ignore[assignment]
        config = LoraConfig(r=4, target_modules=["0"], init_lora_weights=False)
        if fast:
            use_fast_lora(config)
        torch.manual_seed(1)
        peft = get_peft_model(model, config)
        inputs = torch.randn(3, 5, 64, requires_grad=True)
        out = peft(inputs)
        out.square().sum().backward()
        results.append([out, inputs.grad, *(p.grad for p in peft.parameters() if p.requires_grad)])
    for one, other in zip(*results, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-4)


def test_evaluating_a_4_bit_layer_leaves_its_gradient() -> None:
    bnb = pytest.importorskip("bitsandbytes")
    torch.manual_seed(0)
    layer = bnb.nn.Linear4bit(64, 64, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4")
    layer.load_state_dict({"weight": torch.randn(64, 64)})
    layer.to("cpu")
    keep_differentiable(layer)
    inputs = torch.randn(3, 64, requires_grad=True)
    with torch.no_grad():
        layer.eval()(inputs.detach())
    layer.train()(inputs).sum().backward()
    assert inputs.grad is not None
    assert float(inputs.grad.abs().sum()) > 0
