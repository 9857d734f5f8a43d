from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GptOssConfig,
    GptOssForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from quickalign.train.scoring.choose import choose_scorer
from quickalign.train.scoring.packed import PackedScorer
from quickalign.train.scoring.plain import PlainScorer
from tests.support.small_models import SMALL


def choose(model: Any, token_budget: int = 48, longest_row: int = 64) -> tuple[Any, str | None]:
    device = torch.device("cpu")
    return choose_scorer(
        model, token_budget=token_budget, rows_per_micro=1, longest_row=longest_row, pad_id=0, device=device
    )


@pytest.mark.parametrize(
    ("model", "config", "changes"),
    [
        (LlamaForCausalLM, LlamaConfig, {}),
        (MistralForCausalLM, MistralConfig, {"sliding_window": 64}),
        (Qwen3ForCausalLM, Qwen3Config, {}),
        (Olmo2ForCausalLM, Olmo2Config, {}),
        (GraniteForCausalLM, GraniteConfig, {"logits_scaling": 3.0}),
        (CohereForCausalLM, CohereConfig, {"logit_scale": 0.25}),
    ],
)
def test_models_that_can_be_packed(model: Any, config: Any, changes: dict[str, Any]) -> None:
    torch.manual_seed(1)
    scorer, reason = choose(model(config(**SMALL | changes)).eval())
    assert reason is None
    assert isinstance(scorer, PackedScorer)


@pytest.mark.parametrize(
    ("model", "config", "changes", "words"),
    [
        (MistralForCausalLM, MistralConfig, {"sliding_window": 63}, "sliding window of 63 tokens"),
        (LlamaForCausalLM, LlamaConfig, {"attention_dropout": 0.1}, "attention_dropout=0.1"),
        (Gemma2ForCausalLM, Gemma2Config, {"sliding_window": 128}, "attn_logit_softcapping"),
        (MambaForCausalLM, MambaConfig, {}, "MambaForCausalLM"),
        (GptOssForCausalLM, GptOssConfig, {"sliding_window": 128, "num_local_experts": 4}, "s_aux"),
        (
            LlamaForCausalLM,
            LlamaConfig,
            {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}},
            "rotary embedding",
        ),
    ],
)
def test_models_that_cannot_fall_back_with_the_reason(
    model: Any, config: Any, changes: dict[str, Any], words: str
) -> None:
    made: PreTrainedModel = model(config(**SMALL | changes)).eval()
    before = made.config._attn_implementation
    scorer, reason = choose(made)
    assert isinstance(scorer, PlainScorer)
    assert reason is not None
    assert words in reason
    assert made.config._attn_implementation == before


def test_a_model_whose_head_does_more_than_it_says_is_found_out(toys: SimpleNamespace) -> None:
    model = toys.tiny_model()
    plain_forward = model.forward

    def doubled(*args: Any, **kwargs: Any) -> Any:
        output = plain_forward(*args, **kwargs)
        output.logits = output.logits * 2
        return output

    model.forward = doubled
    scorer, reason = choose(model)
    assert isinstance(scorer, PlainScorer)
    assert "other log-probs" in str(reason)


def test_a_packed_pass_that_fails_without_a_word_falls_back(toys: SimpleNamespace) -> None:
    model = toys.tiny_model()
    plain_forward = model.model.forward

    def refuses(*args: Any, packed_layout: Any = None, **kwargs: Any) -> Any:
        if packed_layout is not None:
            raise NotImplementedError
        return plain_forward(*args, **kwargs)

    model.model.forward = refuses
    scorer, reason = choose(model)
    assert isinstance(scorer, PlainScorer)
    assert "NotImplementedError" in str(reason)


def test_a_budget_of_zero_asks_for_plain_rows(toys: SimpleNamespace) -> None:
    scorer, reason = choose(toys.tiny_model(), token_budget=0)
    assert isinstance(scorer, PlainScorer)
    assert reason == "packing is switched off"
