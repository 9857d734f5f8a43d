"""`hh-rlhf`: two whole transcripts that differ in their last answer.

    {"chosen": "\\n\\nHuman: ... \\n\\nAssistant: ...", "rejected": "\\n\\nHuman: ... \\n\\nAssistant: ..."}

What both share is the prompt, turn by turn. Blank space around a turn belongs to the transcript's layout, not to what
was said, and goes; without a chat template the shared transcript is kept as it stands, up to the last `Assistant:`.
"""

import re

from quickalign.data.containers.json_row import Row
from quickalign.data.formats import chat
from quickalign.data.formats.base import Choices, Format
from quickalign.data.formats.fields import label, text
from quickalign.data.problem import RowProblem, quote
from quickalign.data.records import Message, PreferenceRecord, Role

_FIELDS = ("chosen", "rejected")
_TURN = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")
_ROLES: dict[str, Role] = {"Human": "user", "Assistant": "assistant"}


def _matches(row: Row) -> bool:
    return "prompt" not in row and all(
        isinstance(row.get(name), str) and bool(re.match(r"\s*Human:", row[name])) for name in _FIELDS
    )


def _convert(number: int, row: Row, _choices: Choices) -> list[PreferenceRecord]:
    transcripts = [text(row, name) for name in _FIELDS]
    chosen, rejected = (_turns(transcript, name) for transcript, name in zip(transcripts, _FIELDS, strict=True))
    if chosen[:-1] != rejected[:-1]:
        raise RowProblem("rejected", _difference(chosen, rejected), "transcripts that differ in their last answer only")
    prompt = chat.prompt(chosen[:-1], "chosen")
    start = list(_TURN.finditer(transcripts[0]))[-1].end()
    answers = [chat.answer(turns[-1:], name) for turns, name in zip((chosen, rejected), _FIELDS, strict=True)]
    return [
        PreferenceRecord(
            row=number,
            prompt=prompt,
            chosen=answers[0],
            rejected=answers[1],
            raw_prompt=transcripts[0][:start],
            raw_lead=" " if transcripts[0][start : start + 1] == " " else "",
            category=label(row, "category"),
            language=label(row, "language"),
        )
    ]


def _turns(transcript: str, field: str) -> tuple[Message, ...]:
    marks = list(_TURN.finditer(transcript))
    if not marks or marks[0].start() > 0:
        raise RowProblem(field, f"the text {quote(transcript)}", "a transcript that begins with 'Human:'")
    ends = [mark.start() for mark in marks[1:]] + [len(transcript)]
    turns = tuple(
        Message(_ROLES[mark[1]], transcript[mark.end() : end].strip()) for mark, end in zip(marks, ends, strict=True)
    )
    empty = next((index for index, turn in enumerate(turns) if not turn.content), None)
    if empty == len(turns) - 1 and turns[empty].role == "assistant":
        raise RowProblem(field, "an empty text (the last Assistant turn)", "an answer that is not empty")
    if empty is not None:
        raise RowProblem(field, f"an empty {marks[empty][1]} turn (turn {empty + 1})", "turns that are not empty")
    return turns


def _difference(chosen: tuple[Message, ...], rejected: tuple[Message, ...]) -> str:
    pairs = enumerate(zip(chosen, rejected, strict=False), 1)
    turn = next((index for index, (one, other) in pairs if one != other), min(len(chosen), len(rejected)) + 1)
    return f"a transcript of {len(rejected)} turns that leaves 'chosen' ({len(chosen)} turns) at turn {turn}"


FORMAT = Format("hh-rlhf", "preference", _FIELDS, _matches, _convert)
