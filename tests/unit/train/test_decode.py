"""Decoding against a loop without cache, padding or batch, and against transformers' own greedy decoding."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GenerationConfig

from quickalign.core.errors import RunError
from quickalign.train import decode as decoding
from quickalign.train.decode import Decoded, decode
from quickalign.train.scoring.attention import use_packed_attention
from tests.support.chat import chat_model

NO_STOP: frozenset[int] = frozenset()
MODEL = chat_model(dtype=torch.float64, attn_implementation="sdpa")
prompts = st.lists(st.lists(st.integers(0, 258), min_size=1, max_size=12), min_size=1, max_size=5)


def naive(prompt: list[int], stop: frozenset[int], limit: int) -> Decoded:
    """One prompt, the whole sequence through the model for every token."""
    ids = list(prompt)
    for _ in range(limit):
        with torch.no_grad():
            token = int(MODEL(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
        if token in stop:
            return Decoded(tuple(ids[len(prompt) :]), True)
        ids.append(token)
    return Decoded(tuple(ids[len(prompt) :]), False)


def run(rows: list[list[int]], **changes: Any) -> list[Decoded]:
    options: dict[str, Any] = {"stop": NO_STOP, "max_new_tokens": 10, "context_length": 512, **changes}
    return decode(MODEL, rows, **options)


@settings(max_examples=15, deadline=None)
@given(prompts, st.frozensets(st.integers(0, 258), max_size=120))
def test_greedy_equals_the_naive_loop(rows: list[list[int]], stop: frozenset[int]) -> None:
    assert run(rows, stop=stop) == [naive(row, stop, 10) for row in rows]


def test_greedy_equals_transformers() -> None:
    rows = [[5, 6, 7], [9], [1, 2, 3, 4, 5, 6, 7, 8]]
    config = GenerationConfig(max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=256)
    for row, got in zip(rows, run(rows, max_new_tokens=12), strict=True):
        expected = MODEL.generate(torch.tensor([row]), generation_config=config, use_cache=True)  # type: ignore[operator]
        assert list(got.ids) == expected[0, len(row) :].tolist()


def test_batching_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [[index + 1] * (index % 7 + 1) for index in range(9)]
    together = run(rows)
    monkeypatch.setattr(decoding, "PROMPTS_AT_ONCE", 2)
    assert run(rows) == together


def test_a_temperature_that_is_nearly_0_draws_what_0_takes() -> None:
    rows = [[5, 6, 7], [9]]
    for temperature in (1e-300, 1e-40, 1e-30):
        assert run(rows, temperature=temperature, seed=(1 << 63) - 1) == run(rows)


def test_drawn_answers_depend_on_the_seed_and_not_on_the_batch() -> None:
    row, other = [3, 4, 5], [8, 9]
    alone = run([row], temperature=5.0, seed=1)
    assert run([other, row, other], temperature=5.0, seed=1)[1] == alone[0]
    assert run([row], temperature=5.0, seed=2) != alone


def test_a_cold_draw_is_greedy() -> None:
    assert run([[3, 4, 5]], temperature=1e-6) == run([[3, 4, 5]])


def test_a_row_stops_at_the_context() -> None:
    (answer,) = run([[1, 2, 3, 4, 5]], context_length=8)
    assert len(answer.ids) == 3
    assert not answer.finished


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_of_the_model_and_the_random_state_are_left_alone(training: bool) -> None:
    MODEL.train(training)
    before = torch.get_rng_state()
    run([[1, 2]], temperature=1.0)
    assert MODEL.training is training
    assert torch.equal(torch.get_rng_state(), before)


def test_a_model_that_was_switched_to_packed_training_answers_the_same() -> None:
    model = chat_model(dtype=torch.float64)
    rows = [[5, 6, 7], [9], [1, 2, 3, 4]]
    before = decode(model, rows, stop=NO_STOP, max_new_tokens=10, context_length=512)
    use_packed_attention(model)
    assert decode(model, rows, stop=NO_STOP, max_new_tokens=10, context_length=512) == before


def test_nan_is_an_error_and_no_answer() -> None:
    model = chat_model()
    torch.nn.init.constant_(model.get_input_embeddings().weight, float("nan"))  # type: ignore[arg-type]
    with pytest.raises(RunError, match="NaN"):
        decode(model, [[1]], stop=NO_STOP, max_new_tokens=2, context_length=9)


def test_no_prompts_no_answers() -> None:
    assert run([]) == []
