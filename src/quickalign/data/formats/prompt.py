"""`prompt`: a question with the answer that is wanted and the one that is not, as plain texts.

{"prompt": "...", "chosen": "...", "rejected": "..."}
"""

from quickalign.data.containers.json_row import Row
from quickalign.data.formats.base import Choices, Format
from quickalign.data.formats.chat import OPENAI
from quickalign.data.formats.fields import text
from quickalign.data.formats.turns import preference
from quickalign.data.records import Message, PreferenceRecord

_FIELDS = ("prompt", "chosen", "rejected")


def _matches(row: Row) -> bool:
    return all(name in row and not OPENAI.looks_like(row[name]) for name in _FIELDS) and "conversations" not in row


def _convert(number: int, row: Row, _choices: Choices) -> list[PreferenceRecord]:
    prompt, chosen, rejected = (text(row, name) for name in _FIELDS)
    return preference(number, row, (Message("user", prompt),), chosen, rejected)


FORMAT = Format("prompt", "preference", _FIELDS, _matches, _convert)
