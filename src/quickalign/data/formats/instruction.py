"""`instruction`: a task with the answer to imitate.

    {"instruction": "...", "output": "...", "input": "", "system": "", "history": [["question", "answer"], ...]}

`input` follows the instruction on a new line. The answers in `history` are imitated too, each with what stands before
it (see `quickalign.data.formats.turns`).
"""

from quickalign.data.containers.json_row import Row
from quickalign.data.formats.base import Choices, Format
from quickalign.data.formats.fields import checked_text, optional_text, text
from quickalign.data.formats.turns import supervised
from quickalign.data.problem import RowProblem, describe
from quickalign.data.records import Message, SupervisedRecord

_FIELDS = ("instruction", "output")
_OPTIONAL = frozenset({"input", "system", "history"})
_PAIR = 2


def _matches(row: Row) -> bool:
    return all(name in row for name in _FIELDS)


def _convert(number: int, row: Row, _choices: Choices) -> list[SupervisedRecord]:
    addition = optional_text(row, "input")
    question = text(row, "instruction") + (f"\n{addition}" if addition else "")
    system = optional_text(row, "system")
    conversation = (
        *((Message("system", system),) if system else ()),
        *_history(row),
        Message("user", question),
        Message("assistant", text(row, "output")),
    )
    return supervised(number, row, conversation, "instruction")


def _history(row: Row) -> list[Message]:
    rounds = row.get("history")
    if not rounds:
        return []
    if not isinstance(rounds, list):
        raise RowProblem("history", describe(rounds), "a list of [question, answer]")
    turns: list[Message] = []
    for index, pair in enumerate(rounds):
        field = f"history[{index}]"
        if not isinstance(pair, list) or len(pair) != _PAIR:
            raise RowProblem(field, describe(pair), "a list of a question and an answer")
        turns.append(Message("user", checked_text(pair[0], f"{field}[0]")))
        turns.append(Message("assistant", checked_text(pair[1], f"{field}[1]")))
    return turns


FORMAT = Format("instruction", "supervised", _FIELDS, _matches, _convert, _OPTIONAL)
