"""Every format: what it makes of a good row, and what it says of a bad one."""

from typing import Any

import pytest

from quickalign.core.errors import DataError
from quickalign.data.formats.base import Choices
from quickalign.data.formats.registry import FORMATS, recognise
from quickalign.data.problem import RowProblem
from quickalign.data.records import Message, PreferenceRecord, SupervisedRecord

U, A, S = (lambda text, role=role: Message(role, text) for role in ("user", "assistant", "system"))


def m(role: str, content: object) -> dict[str, Any]:
    return {"role": role, "content": content}


def g(role: str, value: str) -> dict[str, Any]:
    return {"from": role, "value": value}


PROMPT: dict[str, Any] = {"prompt": "p", "chosen": "c", "rejected": "r"}
MESSAGES: dict[str, Any] = {
    "prompt": [m("user", "p")],
    "chosen": [m("assistant", "c")],
    "rejected": [m("assistant", "r")],
}
IMPLICIT: dict[str, Any] = {
    "chosen": [m("system", "s"), m("user", "p"), m("assistant", "c")],
    "rejected": [m("system", "s"), m("user", "p"), m("assistant", "r")],
}
OPENAI: dict[str, Any] = {
    "input": {"messages": [m("user", "p")], "tools": [], "parallel_tool_calls": True},
    "preferred_output": [m("assistant", "c")],
    "non_preferred_output": [m("assistant", "r")],
}
SAFE: dict[str, Any] = {
    "prompt": "p",
    "response_0": "zero",
    "response_1": "one",
    "better_response_id": 1,
    "safer_response_id": 0,
}
HH: dict[str, Any] = {"chosen": "\n\nHuman: p\n\nAssistant: c", "rejected": "\n\nHuman: p\n\nAssistant: r"}
SHAREGPT: dict[str, Any] = {
    "conversations": [g("human", "p")],
    "chosen": g("gpt", "c"),
    "rejected": g("gpt", "r"),
    "system": "s",
}
SHAREGPT_SFT: dict[str, Any] = {"conversations": [g("human", "p"), g("gpt", "c")]}
INSTRUCTION: dict[str, Any] = {"instruction": "p", "output": "c"}
CHAT: dict[str, Any] = {"messages": [m("user", "p"), m("assistant", "c")]}
ALL: dict[str, dict[str, Any]] = {
    "prompt": PROMPT,
    "messages": MESSAGES,
    "openai": OPENAI,
    "safe-rlhf": SAFE,
    "hh-rlhf": HH,
    "sharegpt": SHAREGPT,
    "instruction": INSTRUCTION,
    "chat": CHAT,
}


def convert(row, strategy=None, **choices):
    found = recognise("file", [row], "auto", strategy)
    return found.format.convert(1, row, Choices(**choices))


def problem(row, template) -> RowProblem:
    taken = recognise("file", [template], "auto", None).format
    with pytest.raises(RowProblem) as caught:
        taken.convert(1, row, Choices())
    return caught.value


@pytest.mark.parametrize(("name", "row"), ALL.items())
def test_each_format_is_recognised_by_its_rows_alone(name, row):
    assert recognise("file", [row] * 5, "auto", None).format.name == name
    assert recognise("file", [row | {"category": "x", "extra": 1}] * 5, "auto", None).format.name == name


@pytest.mark.parametrize(
    ("row", "prompt", "raw"),
    [
        (PROMPT, (U("p"),), "p"),
        (MESSAGES, (U("p"),), "p"),
        (IMPLICIT, (S("s"), U("p")), None),
        (IMPLICIT | {"prompt": "p"}, (S("s"), U("p")), None),
        (OPENAI, (U("p"),), "p"),
        (HH, (U("p"),), "\n\nHuman: p\n\nAssistant:"),
        (SHAREGPT, (S("s"), U("p")), None),
    ],
)
def test_pairs(row, prompt, raw):
    (record,) = convert(row | {"category": "harm", "language": "en"})
    assert isinstance(record, PreferenceRecord)
    assert (record.prompt, record.chosen, record.rejected, record.raw_prompt) == (prompt, "c", "r", raw)
    assert (record.category, record.language) == ("harm", "en")


def test_safe_rlhf_takes_the_judgement_that_was_asked_for():
    (better,) = convert(SAFE)
    (safer,) = convert(SAFE, safe_rlhf_preference="safer")
    assert (better.chosen, better.rejected) == ("one", "zero")
    assert (safer.chosen, safer.rejected) == ("zero", "one")
    as_text = SAFE | {"better_response_id": "1"}
    assert convert(as_text)[0].chosen == "one"


def test_transcripts_share_their_prompt_turn_by_turn():
    shared = "\n\nHuman: one\n\nAssistant: two\nand more\n\nHuman: three\n\nAssistant:"
    (record,) = convert({"chosen": shared + " yes  and\n\nmore ", "rejected": shared + " no"})
    assert record.prompt == (U("one"), A("two\nand more"), U("three"))
    assert (record.chosen, record.rejected) == ("yes  and\n\nmore", "no")
    assert record.raw_prompt + record.raw_lead + record.rejected == shared + " no"


def test_every_answer_of_a_conversation_is_an_example_with_what_stands_before_it():
    row = {"messages": [m("system", "s"), m("user", "1"), m("assistant", "2"), m("user", "3"), m("assistant", "4")]}
    first, second = convert(row)
    assert first == SupervisedRecord(1, (S("s"), U("1")), "2")
    assert second == SupervisedRecord(1, (S("s"), U("1"), A("2"), U("3")), "4")
    row["messages"][2]["weight"] = 0
    assert convert(row) == [second]


def test_instruction_rows():
    assert convert(INSTRUCTION) == [SupervisedRecord(1, (U("p"),), "c", "p")]
    assert convert(INSTRUCTION | {"input": "more"})[0].prompt == (U("p\nmore"),)
    full = INSTRUCTION | {"system": "s", "history": [["q", "a"]], "input": ""}
    first, last = convert(full)
    assert (first.prompt, first.response) == ((S("s"), U("q")), "a")
    assert (last.prompt, last.response) == ((S("s"), U("q"), A("a"), U("p")), "c")
    assert convert(SHAREGPT_SFT) == [SupervisedRecord(1, (U("p"),), "c", "p")]


@pytest.mark.parametrize(
    ("template", "row", "field", "found"),
    [
        (PROMPT, {"prompt": "p", "chosen": "c"}, "rejected", "no such field"),
        (PROMPT, PROMPT | {"rejected": None}, "rejected", "null"),
        (PROMPT, PROMPT | {"rejected": ["x", "y", "z"]}, "rejected", "a list of 3 items"),
        (PROMPT, PROMPT | {"chosen": 3.5}, "chosen", "the number 3.5"),
        (PROMPT, PROMPT | {"chosen": ""}, "chosen", "an empty text"),
        (PROMPT, PROMPT | {"chosen": " \n"}, "chosen", "2 blank characters"),
        (PROMPT, PROMPT | {"prompt": "a\0b"}, "prompt", "NUL character at position 2"),
        (PROMPT, PROMPT | {"prompt": {"x": 1}}, "prompt", "an object with 'x'"),
        (MESSAGES, MESSAGES | {"chosen": "c"}, "chosen", "the text 'c'"),
        (MESSAGES, MESSAGES | {"chosen": []}, "chosen", "a list of 0 items"),
        (MESSAGES, MESSAGES | {"chosen": [m("assistant", "a"), m("assistant", "b")]}, "chosen", "2 messages"),
        (MESSAGES, MESSAGES | {"prompt": [m("user", "a"), m("user", "b")]}, "prompt", "a user message as turn 2"),
        (MESSAGES, MESSAGES | {"prompt": [m("assistant", "a")]}, "prompt", "an assistant message as turn 1"),
        (MESSAGES, MESSAGES | {"prompt": [m("user", "a"), m("assistant", "b")]}, "prompt", "at the end"),
        (MESSAGES, MESSAGES | {"prompt": [m("user", "a"), m("system", "b")]}, "prompt", "a system message as turn 2"),
        (MESSAGES, MESSAGES | {"prompt": [m("tool", "a")]}, "prompt[0]", "tool message"),
        (MESSAGES, MESSAGES | {"prompt": [m("wizard", "a")]}, "prompt[0].role", "'wizard'"),
        (MESSAGES, MESSAGES | {"prompt": [{"content": "a"}]}, "prompt[0].role", "nothing (null)"),
        (MESSAGES, MESSAGES | {"prompt": ["a"]}, "prompt[0]", "the text 'a'"),
        (MESSAGES, MESSAGES | {"prompt": [m("user", [{"type": "text"}])]}, "prompt[0].content", "message parts"),
        (MESSAGES, MESSAGES | {"chosen": [m("assistant", "a") | {"tool_calls": [1]}]}, "chosen[0]", "tool call"),
        (IMPLICIT, IMPLICIT | {"prompt": "something else"}, "prompt", "'something else'"),
        (
            IMPLICIT,
            {"chosen": IMPLICIT["chosen"], "rejected": [m("user", "q"), m("assistant", "r")]},
            "prompt",
            "no mess",
        ),
        (OPENAI, OPENAI | {"input": {}}, "input", "an object with no fields"),
        (OPENAI, OPENAI | {"input": OPENAI["input"] | {"tools": [1]}}, "input.tools", "a list of 1 item"),
        (SAFE, SAFE | {"better_response_id": 2}, "better_response_id", "the number 2"),
        (SAFE, SAFE | {"better_response_id": True}, "better_response_id", "true"),
        (SAFE, {k: v for k, v in SAFE.items() if k != "better_response_id"}, "better_response_id", "no such field"),
        (HH, HH | {"rejected": "\n\nHuman: other\n\nAssistant: r"}, "rejected", "at turn 1"),
        (HH, HH | {"rejected": HH["rejected"] + "\n\nHuman: more"}, "rejected", "3 turns"),
        (HH, HH | {"chosen": "\n\nHuman: p\n\nAssistant: "}, "chosen", "an empty text"),
        (HH, {k: "\n\nHuman: p\n\nHuman: q\n\nAssistant: " + k for k in HH}, "chosen", "a user message as turn 2"),
        (HH, {k: "\n\nHuman: " + k for k in HH}, "chosen", "no message before the answer"),
        (SHAREGPT, SHAREGPT | {"chosen": [g("gpt", "c")]}, "chosen", "a list of 1 item"),
        (SHAREGPT, SHAREGPT | {"chosen": g("human", "c")}, "chosen", "a user message"),
        (SHAREGPT, SHAREGPT | {"conversations": [g("observation", "x")]}, "conversations[0]", "tool message"),
        (SHAREGPT_SFT, {"conversations": [g("human", "p")]}, "conversations", "a user message at the end"),
        (INSTRUCTION, INSTRUCTION | {"history": [["q"]]}, "history[0]", "a list of 1 item"),
        (INSTRUCTION, INSTRUCTION | {"input": 3}, "input", "the number 3"),
        (CHAT, {"messages": [m("user", "p"), m("assistant", "c") | {"weight": 0}]}, "messages", "weight 0 only"),
        (CHAT, {"messages": [m("user", "p"), m("assistant", "c") | {"weight": 0.5}]}, "messages[1].weight", "0.5"),
        (CHAT, CHAT | {"tools": [{"x": 1}]}, "tools", "a list of 1 item"),
    ],
)
def test_a_row_that_cannot_be_used_says_which_field_and_what_was_found(template, row, field, found):
    caught = problem(row, template)
    assert caught.field == field
    assert found in caught.found
    assert caught.expected


@pytest.mark.parametrize(
    "rows",
    [
        [PROMPT] * 50 + [CHAT] * 50,
        [PROMPT | INSTRUCTION] * 10,
        [INSTRUCTION, SHAREGPT_SFT],
    ],
)
def test_ambiguity_asks_for_the_format(rows):
    with pytest.raises(DataError, match="Say which it is: --data-format") as caught:
        recognise("file", rows, "auto", None)
    assert "looks like" in str(caught.value)


def test_a_few_odd_rows_do_not_make_a_file_ambiguous():
    assert recognise("file", [PROMPT] * 60 + [MESSAGES] * 5, "auto", None).format.name == "prompt"


def test_the_strategy_decides_between_two_formats_that_the_same_rows_have():
    both = IMPLICIT | {"prompt": "p", "messages": IMPLICIT["chosen"]}
    assert recognise("file", [both] * 9, "auto", "dpo").format.name == "messages"
    assert recognise("file", [both] * 9, "auto", "sft").format.name == "chat"
    with pytest.raises(DataError, match="looks like"):
        recognise("file", [both] * 9, "auto", None)


@pytest.mark.parametrize(("row", "strategy", "other"), [(PROMPT, "sft", "dpo"), (CHAT, "dpo", "sft")])
def test_a_file_of_the_other_strategys_kind_names_the_option(row, strategy, other):
    with pytest.raises(DataError, match=f"training_strategy={strategy}.*training_strategy={other}"):
        recognise("file", [row], "auto", strategy)


def test_an_unknown_format_shows_its_fields_and_the_nearest_format():
    with pytest.raises(DataError, match=r"'question', 'chosen'.*nearest format") as caught:
        recognise("file", [{"question": "q", "chosen": "c"}], "auto", None)
    assert "rejected" in str(caught.value)


@pytest.mark.parametrize(
    ("row", "nearest"),
    [
        ({"question": "q", "chosen": "c", "rejected": "r"}, "prompt"),
        ({"instruction": "i", "input": "", "chosen": "c", "rejected": "r"}, "prompt"),
        ({"instruction": "i", "response": "r"}, "instruction"),
    ],
)
def test_the_nearest_format_is_one_that_the_row_lacks_something_of(row, nearest):
    with pytest.raises(DataError, match=f"The nearest format, {nearest}, needs"):
        recognise("file", [row], "auto", None)


def test_a_named_format_is_taken_as_given():
    found = recognise("file", [PROMPT | INSTRUCTION], "instruction", "sft")
    assert found.format.name == "instruction"
    assert "was given" in found.reason
    assert recognise("file", [SHAREGPT_SFT], "sharegpt", None).format.kind == "supervised"
    assert recognise("file", [SHAREGPT], "sharegpt", None).format.kind == "preference"


def test_unused_fields_are_named():
    taken = next(item for item in FORMATS if item.name == "prompt")
    assert taken.unused(PROMPT | {"score": 1, "category": "x", "language": "en"}) == {"score"}


EXTRA = {"name": "Ann", "reasoning_content": "hm", "weight": 0, "tool_calls": None, "refusal": "", "audio": []}


@pytest.mark.parametrize(
    ("row", "used"),
    [
        (MESSAGES | {"chosen": [m("assistant", "c") | EXTRA]}, {"chosen[].weight"}),
        (OPENAI | {"preferred_output": [m("assistant", "c") | EXTRA]}, {"preferred_output[].weight"}),
        (SHAREGPT | {"chosen": g("gpt", "c") | EXTRA}, {"chosen.weight"}),
        (SHAREGPT_SFT | {"conversations": [g("human", "p"), g("gpt", "c") | EXTRA]}, {"conversations[].weight"}),
        (
            CHAT | {"messages": [m("user", "p"), m("assistant", "c"), m("user", "q"), m("assistant", "d") | EXTRA]},
            set(),
        ),
    ],
)
def test_fields_of_messages_that_are_not_used_are_named_where_they_hold_something(row, used):
    found = recognise("file", [row], "auto", None).format
    assert found.convert(1, row, Choices())
    listed = found.unused(row)
    place = next(name for name in listed if name.endswith(".name")).removesuffix("name")
    assert listed - {"input.parallel_tool_calls"} == {f"{place}name", f"{place}reasoning_content"} | used


def test_fields_beside_a_requests_messages_are_named():
    row = OPENAI | {"input": OPENAI["input"] | {"messages": [m("user", "p") | {"name": "Ann"}]}}
    found = recognise("file", [row], "auto", None).format
    assert found.unused(row) == {"input.parallel_tool_calls", "input.messages[].name"}


def test_a_weight_that_parquet_fills_with_null_is_as_good_as_none():
    messages = [m("user", "p"), m("assistant", "c"), m("user", "q"), m("assistant", "d")]
    nulls = [message | {"weight": None} for message in messages]
    nulls[1]["weight"] = messages[1]["weight"] = 0  # type: ignore[assignment]
    assert convert({"messages": nulls}) == convert({"messages": messages})
    assert [record.response for record in convert({"messages": nulls})] == ["d"]
