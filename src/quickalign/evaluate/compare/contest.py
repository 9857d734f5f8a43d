"""Who wins: the answers of two models prompt by prompt, by a stated rule, a judge, or people's votes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from quickalign.evaluate import rules
from quickalign.evaluate.compare.judge import Judge, Ruling
from quickalign.evaluate.compare.spec import JudgeSpec
from quickalign.evaluate.compare.votes import Side, turned
from quickalign.evaluate.statistics import Bootstrap, Column, Interval, SignTest, sign_test

POINTS: dict[Side, float] = {"first": 0.0, "tie": 0.5, "second": 1.0}
"""What the second model gets for a verdict; its mean is the win rate."""


class JudgeFacts(BaseModel):
    """How the judge did, beyond its verdicts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    agreement: float = Field(description="Share of prompts with the same verdict in both orders.")
    first_shown: float = Field(description="Share of verdicts for the answer that was shown first; ties count half.")
    unclear: int = Field(description="Replies without a verdict; they count as ties.")
    prompt_tokens: int
    reply_tokens: int
    cost: float = Field(description="By the prices that were given; 0 where none were.")


class Contest(BaseModel):
    """Two models under one way of judging. Wins, losses and ties are those of the second one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: str = Field(description="rules, judge or votes.")
    first: str
    second: str
    win_rate: Interval | None = Field(description="Of the second one, ties counting one half; None without verdicts.")
    test: SignTest
    verdicts: tuple[Side | None, ...] = Field(description="By prompt; None where nobody voted.")
    judge: JudgeFacts | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """One model's answers, in the order of the prompts."""

    name: str
    texts: tuple[str, ...]


def by_rules(prompts: Sequence[str], first: Answers, second: Answers, bootstrap: Bootstrap) -> Contest:
    """The rule of `quickalign.evaluate.rules`, asked both ways: better than the other one and not the reverse."""
    found: list[Side | None] = []
    for prompt, one, other in zip(prompts, first.texts, second.texts, strict=True):
        second_better = rules.judge(prompt, one, other).better
        first_better = rules.judge(prompt, other, one).better
        found.append("tie" if second_better == first_better else "second" if second_better else "first")
    return _contest("rules", first, second, found, bootstrap)


def by_votes(
    prompts: Sequence[str], first: Answers, second: Answers, votes: Mapping[str, Sequence[Side]], bootstrap: Bootstrap
) -> Contest:
    """The majority of people's votes on each prompt; as many against as for is a tie."""
    found: list[Side | None] = []
    for prompt in prompts:
        points = [POINTS[side] - 0.5 for side in votes.get(prompt.strip(), ())]
        total = sum(points)
        found.append(None if not points else "tie" if total == 0 else "second" if total > 0 else "first")
    return _contest("votes", first, second, found, bootstrap)


def by_judge(
    prompts: Sequence[str],
    first: Answers,
    second: Answers,
    judge: Judge,
    spec: JudgeSpec,
    bootstrap: Bootstrap,
    progress: Callable[[int, int], None],
) -> Contest:
    """Ask the judge in both orders; equal answers are a tie without asking."""
    found: list[Side | None] = []
    rulings: list[tuple[Ruling, Ruling]] = []
    for index, (prompt, one, other) in enumerate(zip(prompts, first.texts, second.texts, strict=True)):
        if one == other:
            found.append("tie")
        else:
            straight, reverse = judge.rule(prompt, one, other), judge.rule(prompt, other, one)
            rulings.append((straight, reverse))
            found.append(_both_orders(straight, reverse))
        progress(index + 1, len(prompts))
    return _contest("judge", first, second, found, bootstrap, _judge_facts(rulings, spec))


def _both_orders(straight: Ruling, reverse: Ruling) -> Side:
    """A win in both orders is a win; everything else is a tie."""
    one, other = straight.side or "tie", turned(reverse.side or "tie")
    return one if one == other else "tie"


def _judge_facts(rulings: Sequence[tuple[Ruling, Ruling]], spec: JudgeSpec) -> JudgeFacts:
    every = [ruling for pair in rulings for ruling in pair]
    agreed = [(one.side or "tie") == turned(other.side or "tie") for one, other in rulings]
    shown_first = [1 - POINTS[ruling.side or "tie"] for ruling in every]
    read, written = sum(r.prompt_tokens for r in every), sum(r.reply_tokens for r in every)
    return JudgeFacts(
        agreement=sum(agreed) / len(agreed) if agreed else 1.0,
        first_shown=sum(shown_first) / len(shown_first) if shown_first else 0.5,
        unclear=sum(ruling.side is None for ruling in every),
        prompt_tokens=read,
        reply_tokens=written,
        cost=(read * spec.price_in + written * spec.price_out) / 1e6,
    )


def _contest(
    by: str,
    first: Answers,
    second: Answers,
    verdicts: Sequence[Side | None],
    bootstrap: Bootstrap,
    facts: JudgeFacts | None = None,
) -> Contest:
    points = np.array([POINTS[side] for side in verdicts if side is not None], dtype=np.float64)
    rate = None
    if len(points):
        rate = bootstrap.interval(Column(points, np.ones(len(points)), np.arange(len(points))))
    return Contest(
        by=by,
        first=first.name,
        second=second.name,
        win_rate=rate,
        test=sign_test(points - 0.5),
        verdicts=tuple(verdicts),
        judge=facts,
    )
