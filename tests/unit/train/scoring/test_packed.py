from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from quickalign.data.pack import pack
from quickalign.train.scoring.attention import AttentionKind, use_packed_attention
from quickalign.train.scoring.packed import PackedScorer
from quickalign.train.scoring.plain import PlainScorer

CPU = torch.device("cpu")


def packed(budget: int = 64, attention: AttentionKind | None = None) -> PackedScorer:
    return PackedScorer(token_budget=budget, device=CPU, attention=attention)


def plain() -> PlainScorer:
    return PlainScorer(pad_id=0, rows_per_micro=2, device=CPU)


def weigh(scorer: Any, model: nn.Module, rows: list[Any]) -> torch.Tensor:
    """All sums in row order, and the backward pass of a loss that weighs every answer differently."""
    sums: list[Any] = [None] * len(rows)
    for micro in scorer.cut(rows):
        scored = scorer.logps(model, micro).sums
        numbers = torch.tensor(micro.rows, dtype=scored.dtype)[:, None] + torch.tensor([1.5, -2.5][: micro.answers])
        if scored.requires_grad:
            (scored * numbers.cos()).sum().backward()
        for row, value in zip(micro.rows, scored.detach(), strict=True):
            sums[row] = value
    return torch.stack(sums)


def assert_same(
    toys: SimpleNamespace,
    model: nn.Module,
    rows: list[Any],
    budget: int,
    tolerance: float,
    attention: AttentionKind | None = None,
) -> None:
    expected = weigh(plain(), model, rows)
    expected_gradients = toys.gradients(model)
    found = weigh(packed(budget, attention), model, rows)
    gradients = toys.gradients(model)
    assert torch.allclose(found, expected, rtol=tolerance, atol=tolerance)
    assert gradients.keys() == expected_gradients.keys()
    assert gradients
    for name, gradient in expected_gradients.items():
        scale = max(1.0, float(gradient.abs().max()))
        assert torch.allclose(gradients[name], gradient, rtol=0, atol=tolerance * scale), name


def shared_pairs(toys: SimpleNamespace, count: int = 9) -> list[Any]:
    rows = toys.random_pairs(count)
    return [
        toys.make_pair(i, rows[i % 3].prompt if i % 2 else row.prompt, row.chosen, row.rejected)
        for i, row in enumerate(rows)
    ]


@pytest.mark.parametrize("budget", [1, 64, 10_000])
def test_lora_values_and_gradients_are_those_of_plain_rows(toys: SimpleNamespace, budget: int) -> None:
    model = toys.with_adapter(toys.tiny_model())
    use_packed_attention(model.get_base_model())
    assert_same(toys, model, shared_pairs(toys), budget, 1e-9)


@pytest.mark.parametrize("budget", [1, 64, 10_000])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_with_a_dense_mask_they_are_too(toys: SimpleNamespace, budget: int, checkpointing: bool) -> None:
    model = toys.with_adapter(toys.tiny_model())
    use_packed_attention(model.get_base_model())
    if checkpointing:
        model.get_base_model().gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
        model.train()
    assert_same(toys, model, shared_pairs(toys), budget, 1e-9, "dense")


def test_fp32_is_within_rounding(toys: SimpleNamespace) -> None:
    model = toys.with_adapter(toys.tiny_model(torch.float32), torch.float32)
    use_packed_attention(model.get_base_model())
    assert_same(toys, model, shared_pairs(toys), 64, 1e-5)


def test_a_cpu_is_given_multiples_of_four_and_what_fills_them_is_seen_by_nobody(toys: SimpleNamespace) -> None:
    rows = toys.random_pairs(7)
    assert any(len(sequence.ids) % 4 for budget in (30, 1000) for sequence in pack(rows, budget))
    for budget in (30, 1000):
        for sequence, micro in zip(pack(rows, budget), packed(budget).cut(rows), strict=True):
            ids, places = micro.inputs["input_ids"], micro.places
            assert ids.shape[1] % 4 == 0
            assert micro.tokens == len(sequence.ids)
            assert ids[0, : micro.tokens].tolist() == sequence.ids.tolist()
            filling = ((micro.tokens, ids.shape[1]),)
            runs = micro.inputs["packed_layout"].runs
            assert all(run.edges[-1] <= micro.tokens or run.ranges == filling for run in runs)
            assert len(places) % 4 == 0 or len(places) == micro.tokens
            assert len(set(places.tolist())) == len(places)
            assert places[micro.which].tolist() == sequence.sources.tolist()
