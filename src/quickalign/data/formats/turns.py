"""From the turns of a row to its records.

Of a supervised conversation every assistant message is an example, with all that stands before it as its prompt, so no
answer that the file offers is left out without a word. A message with `weight` 0, as in OpenAI's format, is context
only.
"""

from collections.abc import Collection

from quickalign.data.containers.json_row import Row
from quickalign.data.formats import chat
from quickalign.data.formats.fields import label
from quickalign.data.problem import RowProblem
from quickalign.data.records import Message, PreferenceRecord, SupervisedRecord


def preference(
    number: int, row: Row, prompt: tuple[Message, ...], chosen: str, rejected: str
) -> list[PreferenceRecord]:
    """The one pair of a row whose prompt and answers are checked."""
    return [
        PreferenceRecord(
            row=number,
            prompt=prompt,
            chosen=chosen,
            rejected=rejected,
            raw_prompt=chat.raw_prompt(prompt),
            category=label(row, "category"),
            language=label(row, "language"),
        )
    ]


def supervised(
    number: int, row: Row, conversation: tuple[Message, ...], field: str, context: Collection[int] = ()
) -> list[SupervisedRecord]:
    """The examples of one conversation; assistant messages at the indices in `context` are not imitated."""
    if conversation[-1].role != "assistant":
        raise RowProblem(
            field, f"{chat.described(conversation[-1].role)} at the end", "a conversation that ends with an answer"
        )
    prompt = chat.prompt(conversation[:-1], field)
    answers = [i for i, message in enumerate(conversation) if message.role == "assistant" and i not in context]
    if not answers:
        raise RowProblem(field, "assistant messages of weight 0 only", "at least one answer to imitate")
    return [
        SupervisedRecord(
            row=number,
            prompt=conversation[:index],
            response=conversation[index].content,
            raw_prompt=chat.raw_prompt(prompt) if index == 1 else None,
            category=label(row, "category"),
            language=label(row, "language"),
        )
        for index in answers
    ]
