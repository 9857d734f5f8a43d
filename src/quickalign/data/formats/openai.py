"""`openai`: the preference format of OpenAI's fine-tuning.

{"input": {"messages": [...]}, "preferred_output": [{"role": "assistant", ...}], "non_preferred_output": [...]}
"""

from quickalign.data.containers.json_row import Row
from quickalign.data.formats import chat
from quickalign.data.formats.base import Choices, Format
from quickalign.data.formats.fields import value
from quickalign.data.formats.turns import preference
from quickalign.data.problem import RowProblem, describe
from quickalign.data.records import PreferenceRecord

_FIELDS = ("input", "preferred_output", "non_preferred_output")


def _matches(row: Row) -> bool:
    return "input" in row and ("preferred_output" in row or "non_preferred_output" in row)


def _convert(number: int, row: Row, _choices: Choices) -> list[PreferenceRecord]:
    given = value(row, "input", "an object with 'messages'")
    if not isinstance(given, dict) or "messages" not in given:
        raise RowProblem("input", describe(given), "an object with 'messages'")
    if given.get("tools"):
        raise RowProblem("input.tools", describe(given["tools"]), "none: tools are not trained")
    prompt = chat.prompt(chat.messages(given["messages"], "input.messages", chat.OPENAI), "input.messages")
    chosen, rejected = (
        chat.answer(chat.messages(value(row, name, "a list of messages"), name, chat.OPENAI), name)
        for name in _FIELDS[1:]
    )
    return preference(number, row, prompt, chosen, rejected)


FORMAT = Format("openai", "preference", _FIELDS, _matches, _convert, inside=chat.OPENAI.fields | {"messages"})
