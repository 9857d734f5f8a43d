"""`sharegpt`: conversations with `from` and `value`, for pairs and for supervised rows.

    {"conversations": [{"from": "human", "value": ...}, ...], "chosen": {"from": "gpt", ...}, "rejected": {...}}
    {"conversations": [{"from": "human", "value": ...}, {"from": "gpt", "value": ...}]}

A `system` field stands for a system message in front.
"""

from quickalign.data.containers.json_row import Row
from quickalign.data.formats import chat
from quickalign.data.formats.base import Choices, Format
from quickalign.data.formats.fields import optional_text, value
from quickalign.data.formats.turns import preference, supervised
from quickalign.data.problem import RowProblem
from quickalign.data.records import Message, PreferenceRecord, SupervisedRecord

_ANSWERS = ("chosen", "rejected")


def _conversation(row: Row) -> tuple[Message, ...]:
    given = value(row, "conversations", "a list of messages")
    conversation = chat.messages(given, "conversations", chat.SHAREGPT)
    system = optional_text(row, "system")
    if system and conversation[0].role == "system":
        raise RowProblem("system", "a system text beside a system message in 'conversations'", "one of the two")
    return (Message("system", system), *conversation) if system else conversation


def _pair(number: int, row: Row, _choices: Choices) -> list[PreferenceRecord]:
    prompt = chat.prompt(_conversation(row), "conversations")
    chosen, rejected = (
        chat.answer((chat.message(value(row, name, "an answer"), name, chat.SHAREGPT),), name) for name in _ANSWERS
    )
    return preference(number, row, prompt, chosen, rejected)


def _samples(number: int, row: Row, _choices: Choices) -> list[SupervisedRecord]:
    return supervised(number, row, _conversation(row), "conversations")


PREFERENCE = Format(
    "sharegpt",
    "preference",
    ("conversations", *_ANSWERS),
    lambda row: "conversations" in row and not set(_ANSWERS).isdisjoint(row),
    _pair,
    frozenset({"system"}),
    chat.SHAREGPT.fields,
)
SUPERVISED = Format(
    "sharegpt",
    "supervised",
    ("conversations",),
    lambda row: "conversations" in row and set(_ANSWERS).isdisjoint(row),
    _samples,
    frozenset({"system"}),
    chat.SHAREGPT.fields,
)
