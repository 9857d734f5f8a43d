"""What a set of answers shows by itself: length, refusals, repetition, language, and whether they end."""

from __future__ import annotations

from dataclasses import dataclass

from quickalign.data.statistics import script_of
from quickalign.evaluate import rules
from quickalign.evaluate.answers import Written

_NO_LETTERS = script_of("")


@dataclass(frozen=True, slots=True)
class TextFacts:
    """One answer. `fault` says why it cannot count as one, None where it can."""

    tokens: int
    refuses: bool
    repeats: bool
    drifts: bool
    unfinished: bool
    fault: str | None


def facts_of(prompt: str, answer: Written) -> TextFacts:
    """What `answer` to `prompt` shows; the rules are those of `quickalign.evaluate.rules`.

    An answer drifts when it is written in another script than its prompt, which two languages of one script hide.
    """
    asked, said = script_of(prompt), script_of(answer.text)
    return TextFacts(
        tokens=answer.tokens,
        refuses=rules.refuses(answer.text),
        repeats=rules.repetition(answer.text) is not None,
        drifts=_NO_LETTERS not in (asked, said) and asked != said,
        unfinished=not answer.finished,
        fault=rules.fault(answer.text),
    )
