"""What goes when a row is too long: prompt text from the left, then answer text from the end; never marks."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quickalign.data.encode import EncodedPair, EncodedRecord, Encoder
from quickalign.data.problem import RowProblem
from quickalign.data.records import Message, PreferenceRecord
from tests.support import tokenizers as toys

SYSTEM = "You are a helpful assistant"
WORDS = "one two three four five six seven eight nine ten"
TOKENIZER = toys.qwen2_like()
HEAD = f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n"
TAIL = "<|im_end|>\n<|im_start|>assistant\n"


def size(text: str) -> int:
    return len(TOKENIZER(text, add_special_tokens=False)["input_ids"])


def cut(prompt, seq_length: int, chosen="I can't hurt you.", rejected="Yes.", **options) -> EncodedRecord | RowProblem:
    messages = (Message("user", prompt),) if isinstance(prompt, str) else prompt
    raw = messages[0].content if len(messages) == 1 else None
    options = {"system_prompt": SYSTEM} | options
    encoder = Encoder(TOKENIZER, seq_length=seq_length, **options)
    return encoder.encode([PreferenceRecord(1, messages, chosen, rejected, raw)])[0]


def texts(row: EncodedRecord | RowProblem) -> tuple[str, str, str]:
    assert isinstance(row, EncodedRecord), row
    example = row.example
    assert isinstance(example, EncodedPair)
    parts = (example.prompt, example.chosen, example.rejected)
    prompt, chosen, rejected = (str(TOKENIZER.decode(part.tolist())) for part in parts)
    return prompt, chosen, rejected


def test_a_row_of_exactly_seq_length_is_whole():
    whole = size(HEAD + WORDS + TAIL) + size("I can't hurt you.<|im_end|>\n")
    row = cut(WORDS, whole)
    assert isinstance(row, EncodedRecord)
    assert (row.facts.prompt_lost, row.facts.answers_lost) == (0, (0, 0))
    shorter = cut(WORDS, whole - 1)
    assert isinstance(shorter, EncodedRecord)
    assert (shorter.facts.prompt_lost, shorter.facts.answers_lost) == (1, (0, 0))


def test_the_question_loses_its_beginning_and_the_answers_stay_whole():
    whole = size(HEAD + WORDS + TAIL) + size("I can't hurt you.<|im_end|>\n")
    prompt, chosen, rejected = texts(cut(WORDS, whole - size("one two three")))
    assert prompt == HEAD + WORDS.removeprefix("one two three") + TAIL
    assert (chosen, rejected) == ("I can't hurt you.<|im_end|>\n", "Yes.<|im_end|>\n")


def test_oldest_turns_go_whole_before_the_last_question_is_touched():
    talk = (
        Message("user", WORDS),
        Message("assistant", "six"),
        Message("user", "seven eight"),
        Message("assistant", "nine"),
        Message("user", WORDS),
    )
    room = size(HEAD + WORDS + TAIL) + size("I can't hurt you.<|im_end|>\n")
    prompt, _, _ = texts(cut(talk, room))
    assert prompt == HEAD + WORDS + TAIL
    with_one_turn = (
        f"{HEAD}seven eight<|im_end|>\n<|im_start|>assistant\nnine<|im_end|>\n<|im_start|>user\n{WORDS}{TAIL}"
    )
    prompt, _, _ = texts(cut(talk, size(with_one_turn) + size("I can't hurt you.<|im_end|>\n")))
    assert prompt == with_one_turn


def test_answers_are_cut_only_when_the_question_is_gone_and_are_counted_apart():
    smallest = size(HEAD + TAIL)
    row = cut(WORDS, smallest + 3)
    prompt, chosen, rejected = texts(row)
    assert isinstance(row, EncodedRecord)
    assert prompt == HEAD + TAIL
    assert size(chosen) == 3
    assert row.facts.question_lost
    assert row.facts.answers_lost == (size("I can't hurt you.<|im_end|>\n") - 3, max(size("Yes.<|im_end|>\n") - 3, 0))
    assert row.facts.end_lost
    assert rejected == TOKENIZER.decode(TOKENIZER("Yes.<|im_end|>\n", add_special_tokens=False)["input_ids"][:3])


def test_losing_only_the_line_break_behind_the_end_token_does_not_lose_the_end_token():
    answer = size("I can't hurt you.<|im_end|>\n")
    row = cut(WORDS, size(HEAD + TAIL) + answer - 1)
    assert isinstance(row, EncodedRecord)
    assert row.facts.answers_lost == (1, 0)
    assert not row.facts.end_lost


def test_where_nothing_of_the_answer_would_be_left_the_row_is_bad():
    problem = cut(WORDS, size(HEAD + TAIL))
    assert isinstance(problem, RowProblem)
    assert f"seq_length={size(HEAD + TAIL)}" in problem.expected
    assert f"{size(HEAD + TAIL)} tokens" in problem.found


def test_joined_texts_keep_the_end_of_the_prompt_and_at_least_one_token():
    row = cut(WORDS, 6, apply_chat_template=False, system_prompt="", chosen=" one", rejected=" two")
    prompt, chosen, _ = texts(row)
    assert WORDS.endswith(prompt)
    assert chosen == " one<|im_end|>"
    tight = cut(WORDS, 8, apply_chat_template=False, system_prompt="", chosen=WORDS, rejected=WORDS)
    assert isinstance(tight, EncodedRecord)
    assert isinstance(tight.example, EncodedPair)
    assert (len(tight.example.prompt), len(tight.example.chosen)) == (1, 7)


contents = st.text(alphabet="abc dé 好😀\n", min_size=1, max_size=40).filter(str.strip)


@given(st.lists(contents, min_size=1, max_size=4), contents, contents, st.integers(8, 160))
@settings(max_examples=150, deadline=None)
def test_whatever_is_cut_the_prompt_is_a_rendering_of_the_end_of_the_conversation(questions, chosen, rejected, length):
    talk = [m for text in questions for m in (Message("user", text), Message("assistant", "ok"))][:-1]
    row = cut(tuple(talk), length, chosen, rejected)
    smallest = size(HEAD + TAIL)
    if length <= smallest:
        assert isinstance(row, RowProblem)
        return
    prompt, *_ = texts(row)
    assert isinstance(row, EncodedRecord)
    assert isinstance(row.example, EncodedPair)
    longest = max(len(row.example.chosen), len(row.example.rejected))
    assert len(row.example.prompt) + longest <= length
    assert row.example.prompt.tolist() == TOKENIZER(prompt, add_special_tokens=False)["input_ids"]
    kept = re.findall(r"<\|im_start\|>(\w+)\n(.*?)<\|im_end\|>\n", prompt, re.DOTALL)
    assert kept[0] == ("system", SYSTEM)
    given_turns = [(m.role, m.content) for m in talk][-len(kept) + 1 :]
    assert [role for role, _ in kept[1:]] == [role for role, _ in given_turns]
    assert given_turns[0][1].endswith(kept[1][1])
    assert [text for _, text in kept[2:]] == [text for _, text in given_turns[1:]]
    if any(row.facts.answers_lost):
        assert len(row.example.prompt) == smallest


@pytest.mark.parametrize("turns", [200])
def test_a_long_conversation_is_cut_in_few_renderings(turns, monkeypatch):
    talk = tuple(m for i in range(turns) for m in (Message("user", f"one {i}"), Message("assistant", "ok")))[:-1]
    encoder = Encoder(TOKENIZER, seq_length=64, system_prompt=SYSTEM)
    assert encoder.template is not None
    calls = []
    original = encoder.template.prompts

    def counted(conversations):
        calls.append(1)
        return original(conversations)

    monkeypatch.setattr(encoder.template, "prompts", counted)
    row = encoder.encode([PreferenceRecord(1, talk, "a", "b")])[0]
    assert isinstance(row, EncodedRecord)
    assert len(calls) < 8
