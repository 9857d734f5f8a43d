"""Sample prompts answered before and after training: the quickest way to see what a run did, and whether it broke.

A falling loss does not show a model that repeats itself, answers nothing, or never ends; a few greedy answers do.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch import nn

from quickalign.train.answer import MAX_NEW_TOKENS, Answer, adapter_off, answer_ids
from quickalign.train.observer import SampleAnswer
from quickalign.train.prompts import PromptEncoder

SAMPLES = 6
"""How many prompts are taken from the data where none are given."""

REPEATS = 3
LOOP_TOKENS = 16


class HasPrompt(Protocol):
    """An encoded row of training data."""

    @property
    def prompt(self) -> npt.NDArray[np.int32]:
        """The prompt's token ids, as they are trained on."""


@dataclass(frozen=True, slots=True)
class SamplePrompt:
    """A prompt to answer: what is shown of it, and the ids that the model gets."""

    text: str
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Samples:
    """Answers before and after, and sentences about those that went wrong after training."""

    answers: tuple[SampleAnswer, ...]
    remarks: tuple[str, ...]


def choose_prompts(
    given: Sequence[str], rows: Iterable[HasPrompt], encoder: PromptEncoder, count: int = SAMPLES
) -> tuple[SamplePrompt, ...]:
    """All `given` prompts, or where there are none, the first `count` different ones of `rows`.

    Args:
        given: the user's messages (plain texts without a chat template).
        rows: validation rows, or training rows where there is no validation.
        encoder: how prompts become tokens.
        count: how many are taken from `rows` at most.
    """
    if given:
        return tuple(SamplePrompt(text, tuple(encoder.encode(text))) for text in given)
    chosen: dict[tuple[int, ...], SamplePrompt] = {}
    for row in rows:
        ids = tuple(int(token) for token in row.prompt)
        chosen.setdefault(ids, SamplePrompt(encoder.show(ids), ids))
        if len(chosen) == count:
            break
    return tuple(chosen.values())


def answer_before(
    model: nn.Module, encoder: PromptEncoder, prompts: Sequence[SamplePrompt], max_new_tokens: int = MAX_NEW_TOKENS
) -> list[Answer]:
    """Greedy answers of the base. An adapter is switched off meanwhile, so this may be asked at any step of LoRA;
    full fine-tuning must ask before its first step."""
    with adapter_off(model):
        return answer_after(model, encoder, prompts, max_new_tokens)


def answer_after(
    model: nn.Module, encoder: PromptEncoder, prompts: Sequence[SamplePrompt], max_new_tokens: int = MAX_NEW_TOKENS
) -> list[Answer]:
    """Greedy answers of the model as it is."""
    return answer_ids(model, encoder, [prompt.ids for prompt in prompts], max_new_tokens=max_new_tokens)


def compare(prompts: Sequence[SamplePrompt], before: Sequence[str], after: Sequence[Answer]) -> Samples:
    """Put the answers side by side and say which of those after training went wrong."""
    answers = tuple(
        SampleAnswer(prompt.text, old, new.text, repeats=repeats(new.ids))
        for prompt, old, new in zip(prompts, before, after, strict=True)
    )
    return Samples(answers, _remarks(answers, after))


def repeats(ids: Sequence[int]) -> bool:
    """Whether an answer got stuck: somewhere one piece of it stands `REPEATS` times in a row or more, over at least
    `LOOP_TOKENS` tokens."""
    for period in range(1, len(ids) // REPEATS + 1):
        longest = max(REPEATS * period, LOOP_TOKENS)
        equal = 0
        for index in range(period, len(ids)):
            equal = equal + 1 if ids[index] == ids[index - period] else 0
            if equal + period >= longest:
                return True
    return False


def _remarks(answers: Sequence[SampleAnswer], after: Sequence[Answer]) -> tuple[str, ...]:
    total = len(answers)
    kinds = (
        ([a for a in answers if a.repeats], "repeat themselves after training"),
        ([a for a in answers if not a.after.strip()], "are empty after training"),
        (
            [a for a, new in zip(answers, after, strict=True) if not (new.finished or a.repeats)],
            "had not ended when the limit of tokens was reached",
        ),
    )
    return tuple(
        f"{len(found)} of {total} sample answers {what}, first the one to {_short(found[0].prompt)!r}."
        for found, what in kinds
        if found
    )


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= 60 else plain[:59] + "…"
