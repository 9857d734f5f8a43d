"""`messages`: a preference pair as chat messages.

    {"prompt": [{"role", "content"}, ...], "chosen": [{"role": "assistant", ...}], "rejected": [...]}

Without `prompt`, `chosen` and `rejected` are whole conversations and their common beginning is the prompt. A `prompt`
that is a plain text beside whole conversations only repeats the question; it must be found in them.
"""

from quickalign.data.containers.json_row import Row
from quickalign.data.formats import chat
from quickalign.data.formats.base import Choices, Format
from quickalign.data.formats.fields import value
from quickalign.data.formats.turns import preference
from quickalign.data.problem import RowProblem, quote
from quickalign.data.records import Message, PreferenceRecord

_ANSWERS = ("chosen", "rejected")
_EXPECTED = "a list of messages"
_Conversation = tuple[Message, ...]


def _matches(row: Row) -> bool:
    some = any(chat.OPENAI.looks_like(row.get(name)) for name in (*_ANSWERS, "prompt"))
    return some and all(name in row for name in _ANSWERS) and "conversations" not in row


def _convert(number: int, row: Row, _choices: Choices) -> list[PreferenceRecord]:
    chosen, rejected = (chat.messages(value(row, name, _EXPECTED), name, chat.OPENAI) for name in _ANSWERS)
    given = row.get("prompt")
    if given is None or isinstance(given, str):
        prompt, chosen, rejected = split_conversations(chosen, rejected)
        if isinstance(given, str) and all(given.strip() != message.content.strip() for message in prompt):
            raise RowProblem("prompt", f"the text {quote(given)}", "the question of the conversation in 'chosen'")
    else:
        prompt = chat.messages(given, "prompt", chat.OPENAI)
    prompt = chat.prompt(prompt, "prompt")
    return preference(number, row, prompt, chat.answer(chosen, "chosen"), chat.answer(rejected, "rejected"))


def split_conversations(chosen: _Conversation, rejected: _Conversation) -> tuple[_Conversation, ...]:
    """The common beginning of two conversations without their last messages, and what is left of each."""
    shared = 0
    for one, other in zip(chosen[:-1], rejected[:-1], strict=False):
        if one != other:
            break
        shared += 1
    return chosen[:shared], chosen[shared:], rejected[shared:]


FORMAT = Format("messages", "preference", _ANSWERS, _matches, _convert, frozenset({"prompt"}), chat.OPENAI.fields)
