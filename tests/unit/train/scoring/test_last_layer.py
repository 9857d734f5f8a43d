from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from transformers import MixtralConfig, MixtralForCausalLM

from quickalign.train.scoring.attention import use_packed_attention
from quickalign.train.scoring.last_layer import ScoredPlaces
from quickalign.train.scoring.packed import PackedScorer
from quickalign.train.scoring.plain import PlainScorer

CPU = torch.device("cpu")


def tokens_seen(part: nn.Module) -> list[int]:
    seen: list[int] = []
    part.gate_proj.register_forward_hook(lambda _, arguments, __: seen.append(arguments[0].shape[-2]))  # type: ignore[union-attr]
    return seen


def prepared(toys: SimpleNamespace) -> tuple[Any, ScoredPlaces, list[list[int]]]:
    model = toys.with_adapter(toys.tiny_model())
    base = model.get_base_model()
    use_packed_attention(base)
    places = ScoredPlaces(base)
    return model, places, [tokens_seen(layer.mlp) for layer in base.model.layers]


def test_only_scored_places_pass_the_last_feed_forward_part(toys: SimpleNamespace) -> None:
    model, places, (first, last) = prepared(toys)
    scorer = PackedScorer(token_budget=10_000, device=CPU)
    micro = scorer.cut(toys.random_pairs(6))[0]
    scorer.logps(model, micro)
    tokens = micro.inputs["input_ids"].numel()
    assert (first, last) == ([tokens], [len(micro.places)])
    assert len(micro.places) < tokens
    places.remove()
    scorer.logps(model, micro)
    assert last[-1] == tokens


def test_a_second_time_changes_nothing(toys: SimpleNamespace) -> None:
    model, _, (_, last) = prepared(toys)
    ScoredPlaces(model.get_base_model()).remove()
    micro = (scorer := PackedScorer(token_budget=10_000, device=CPU)).cut(toys.random_pairs(6))[0]
    scorer.logps(model, micro)
    assert last == [len(micro.places)]


def test_recomputed_layers_see_the_same_places(toys: SimpleNamespace) -> None:
    model, _, (_, last) = prepared(toys)
    model.get_base_model().gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    scorer = PackedScorer(token_budget=10_000, device=CPU)
    micro = scorer.cut(toys.random_pairs(6))[0]
    logps = scorer.logps(model, micro).sums
    # Plain rows in between, as an evaluation would score them.
    plain = PlainScorer(pad_id=0, rows_per_micro=1, device=CPU)
    with torch.no_grad():
        for one in plain.cut(toys.random_pairs(1)):
            plain.logps(model, one)
    logps.sum().backward()
    assert last[0] == last[-1] == len(micro.places)
    assert len(last) == 3


def test_plain_rows_pass_whole(toys: SimpleNamespace) -> None:
    model, _, (first, last) = prepared(toys)
    model(input_ids=torch.arange(10)[None])
    assert first == last == [10]


def test_experts_are_left_alone() -> None:
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = MixtralForCausalLM(MixtralConfig(**shape, num_key_value_heads=1, num_local_experts=2, vocab_size=20))
    ScoredPlaces(model)
    assert not model.model.layers[-1].mlp._forward_hooks
