"""`chat`: a conversation whose answers are imitated.

{"messages": [{"role": "user", "content": ...}, {"role": "assistant", "content": ...}, ...]}
"""

from quickalign.data.containers.json_row import Row
from quickalign.data.formats import chat
from quickalign.data.formats.base import Choices, Format
from quickalign.data.formats.fields import value
from quickalign.data.formats.turns import supervised
from quickalign.data.problem import RowProblem, describe
from quickalign.data.records import SupervisedRecord


def _convert(number: int, row: Row, _choices: Choices) -> list[SupervisedRecord]:
    if row.get("tools"):
        raise RowProblem("tools", describe(row["tools"]), "none: tools are not trained")
    given = value(row, "messages", "a list of messages")
    conversation = chat.messages(given, "messages", chat.OPENAI)
    context = [index for index, item in enumerate(given) if not _weight(item.get("weight"), index)]
    return supervised(number, row, conversation, "messages", context)


def _weight(value: object, index: int) -> int:
    if value is None:  # Parquet has the field in every message where one has it
        return 1
    if isinstance(value, bool) or not isinstance(value, int) or value not in (0, 1):
        raise RowProblem(f"messages[{index}].weight", describe(value), "0 or 1")
    return value


FORMAT = Format(
    "chat",
    "supervised",
    ("messages",),
    lambda row: "messages" in row,
    _convert,
    frozenset({"tools"}),
    chat.OPENAI.fields | {"weight"},
)
