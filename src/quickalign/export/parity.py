"""Whether the exported model is the one that was trained: log-probabilities and greedy answers, before and after."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from quickalign.data.encode import EncodedRow
from quickalign.evaluate.scores import scorer_for
from quickalign.evaluate.statistics import Floats
from quickalign.train.decode import decode


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a model does with the rows and prompts.

    Attributes:
        logps: [rows, answers] in nats.
        tokens: [rows, answers].
        answers: greedy answers as token ids.
        tokens_per_second: of the greedy answers; None where there are none.
        bytes: of the weights in memory or on disk.
    """

    logps: Floats
    tokens: Floats
    answers: tuple[tuple[int, ...], ...]
    tokens_per_second: float | None
    bytes: int

    @property
    def perplexity(self) -> float:
        """Of the first (chosen) answers."""
        return math.exp(-self.logps[:, 0].sum() / self.tokens[:, 0].sum())

    @property
    def likelihood_accuracy(self) -> float | None:
        """How often the chosen answer is the likelier one per token; None for single answers."""
        if self.logps.shape[1] < 2:
            return None
        average = self.logps / self.tokens
        margin = average[:, 0] - average[:, 1]
        return float(((margin > 0) + 0.5 * (margin == 0)).mean())


class Side(BaseModel):
    """One column of the table of before and after."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes: int = Field(description="Of the weights.")
    tokens_per_second: float | None = Field(description="Greedy answers on this machine, one batch.")
    perplexity: float
    likelihood_accuracy: float | None


class Parity(BaseModel):
    """How close the exported model is to the trained one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    largest_difference: float = Field(description="Of an answer's log-probability, in nats.")
    largest_per_token: float = Field(description="Of an answer's log-probability divided by its tokens, in nats.")
    limit: float = Field(description="The most that largest_per_token may be.")
    prompts: int
    equal_answers: int = Field(description="Greedy answers that are the same to the last token.")
    equal_tokens: float | None = Field(description="Share of greedy tokens before the first difference.")
    before: Side
    after: Side

    @property
    def passed(self) -> bool:
        """Whether the limit is kept; a difference that is not a number keeps none."""
        return self.largest_per_token <= self.limit


def behave(
    model: nn.Module, rows: Sequence[EncodedRow], prompts: int, answer_tokens: int, ends: frozenset[int], size: int
) -> Behaviour:
    """Score `rows` and answer the prompts of the first of them, greedily."""
    scorer = scorer_for(model, rows)
    found: dict[int, Floats] = {}
    with torch.no_grad():
        for micro in scorer.cut(rows):
            sums = scorer.logps(model, micro).sums.double().cpu().numpy()
            found.update(zip(micro.rows, sums, strict=True))
    asked = prompts_of(rows, prompts)
    started = time.perf_counter()
    made = decode(model, asked, stop=ends, max_new_tokens=answer_tokens, context_length=1 << 20) if asked else []
    seconds = time.perf_counter() - started
    answers = tuple(one.ids for one in made)
    return Behaviour(
        logps=np.stack([found[index] for index in range(len(rows))]),
        tokens=np.array([[len(answer) for answer in row.answers] for row in rows], dtype=np.float64),
        answers=answers,
        tokens_per_second=sum(map(len, answers)) / seconds if asked else None,
        bytes=size,
    )


def prompts_of(rows: Sequence[EncodedRow], most: int) -> list[tuple[int, ...]]:
    """The prompts, as token ids, that are answered: of the first rows, each once, and at most so many."""
    return list(dict.fromkeys(tuple(int(token) for token in row.prompt) for row in rows))[:most]


def compare(before: Behaviour, after: Behaviour, limit: float) -> Parity:
    """Put two behaviours on the same rows and prompts beside each other."""
    apart = np.abs(after.logps - before.logps)
    pairs = list(zip(before.answers, after.answers, strict=True))
    longest = sum(max(len(one), len(other)) for one, other in pairs)
    return Parity(
        rows=len(apart),
        largest_difference=float(apart.max()),
        largest_per_token=float((apart / before.tokens).max()),
        limit=limit,
        prompts=len(pairs),
        equal_answers=sum(one == other for one, other in pairs),
        equal_tokens=sum(_shared(one, other) for one, other in pairs) / longest if longest else None,
        before=_side(before),
        after=_side(after),
    )


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(one), len(other)))


def _side(found: Behaviour) -> Side:
    return Side(
        bytes=found.bytes,
        tokens_per_second=found.tokens_per_second,
        perplexity=found.perplexity,
        likelihood_accuracy=found.likelihood_accuracy,
    )
