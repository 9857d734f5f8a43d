"""Choosing sample prompts, answering them before and after, and seeing what went wrong."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model

from quickalign.data.encode import EncodedPair
from quickalign.train.answer import Answer
from quickalign.train.observer import SampleAnswer
from quickalign.train.prompts import PromptEncoder
from quickalign.train.samples import SamplePrompt, answer_after, answer_before, choose_prompts, compare, repeats
from tests.support.chat import byte_tokenizer, chat_model

ENCODER = PromptEncoder(byte_tokenizer(), apply_chat_template=True, system_prompt="Be kind")


def row(text: str) -> EncodedPair:
    ids = np.asarray(ENCODER.encode(text), dtype=np.int32)
    return EncodedPair(1, ids, ids, ids)


def test_given_prompts_are_all_taken() -> None:
    given_prompts = [f"question {number}" for number in range(9)]
    chosen = choose_prompts(given_prompts, [row("other")], ENCODER)
    assert [prompt.text for prompt in chosen] == given_prompts
    assert chosen[3].ids == tuple(ENCODER.encode("question 3"))


def test_otherwise_the_first_different_prompts_of_the_data_are_taken_as_they_were_trained_on() -> None:
    rows = [row(text) for text in ["a", "a", "b", "c", "d"]]
    chosen = choose_prompts([], rows, ENCODER, count=3)
    assert [prompt.text for prompt in chosen] == ["a", "b", "c"]
    assert chosen[1].ids == tuple(rows[2].prompt.tolist())
    assert len(choose_prompts([], rows, ENCODER, count=10)) == 4


def test_before_is_the_base_and_after_is_the_adapter() -> None:
    prompts = choose_prompts(["hello"], [], ENCODER)
    base = answer_after(chat_model(), ENCODER, prompts, 12)
    torch.manual_seed(1)
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    tuned = get_peft_model(chat_model(), config)  # type: ignore[arg-type]
    assert answer_before(tuned, ENCODER, prompts, 12) == base
    assert answer_after(tuned, ENCODER, prompts, 12) != base


@pytest.mark.parametrize(
    ("ids", "stuck"),
    [
        ([7] * 16, True),
        ([7] * 15, False),
        ([1, 2, 3, 4] * 4, True),
        ([1, 2, 3, 4] * 3, False),
        (list(range(20)) * 3, True),
        (list(range(20)) * 2, False),
        ([*range(50), *[1, 2, 3, 4] * 4, *range(100, 150)], True),
        ([], False),
    ],
)
def test_loops(ids: list[int], stuck: bool) -> None:
    assert repeats(ids) is stuck


@given(st.lists(st.integers(0, 5), min_size=6, max_size=20), st.integers(3, 6), st.lists(st.integers(), max_size=9))
def test_any_piece_three_times_in_a_row_is_a_loop(piece: list[int], times: int, lead: list[int]) -> None:
    assert repeats([*lead, *piece * times])


@given(st.lists(st.integers(0, 300), unique=True, max_size=60))
def test_an_answer_of_different_tokens_is_no_loop(ids: list[int]) -> None:
    assert not repeats(ids)


def test_what_went_wrong_is_said() -> None:
    prompts = [SamplePrompt(text, (1,)) for text in ("fine", "loops", "empty", "endless")]
    after = [
        Answer("good", (1, 2), True),
        Answer("x x x", (5,) * 40, False),
        Answer(" ", (9,), True),
        Answer("on and on", tuple(range(30)), False),
    ]
    samples = compare(prompts, ["old"] * 4, after)
    assert [answer.repeats for answer in samples.answers] == [False, True, False, False]
    assert samples.answers[0] == SampleAnswer("fine", "old", "good", repeats=False)
    assert len(samples.remarks) == 3
    for remark, prompt in zip(samples.remarks, ("loops", "empty", "endless"), strict=True):
        assert remark.startswith("1 of 4 sample answers")
        assert prompt in remark


def test_nothing_is_said_of_good_answers() -> None:
    assert compare([SamplePrompt("fine", (1,))], ["old"], [Answer("new", (1,), True)]).remarks == ()
