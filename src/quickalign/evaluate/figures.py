"""The figures of a report: what each one is called and means, and how it is made from the rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from quickalign.evaluate import overlap
from quickalign.evaluate.measure import Measured
from quickalign.evaluate.statistics import Column, Floats
from quickalign.evaluate.texts import TextFacts, facts_of

Better = Literal["higher", "lower", "neither"]
Unit = Literal["share", "reward", "nats", "nats per token", "perplexity", "tokens"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: its name in limits, its title and unit, which direction is better, and what it means."""

    name: str
    title: str
    unit: Unit
    better: Better
    meaning: str


FIGURES = (
    Figure(
        "accuracy",
        "Preference accuracy",
        "share",
        "higher",
        "How often the model moved towards the chosen answer more than towards the rejected one; ties count one half. "
        "An unchanged model has 50 %.",
    ),
    Figure(
        "margin",
        "Reward margin",
        "reward",
        "higher",
        "Reward of the chosen minus that of the rejected answer; a reward is beta times the change of log-probability.",
    ),
    Figure(
        "likelihood_accuracy",
        "Likelihood accuracy",
        "share",
        "higher",
        "How often the chosen answer is the likelier one per token, without regard to the base.",
    ),
    Figure(
        "chosen_shift",
        "Shift of chosen answers",
        "nats",
        "higher",
        "Change of log-probability of chosen answers against the base. Well below 0, the model unlearns them too "
        "(likelihood displacement).",
    ),
    Figure(
        "rejected_shift",
        "Shift of rejected answers",
        "nats",
        "lower",
        "Change of log-probability of rejected answers against the base.",
    ),
    Figure(
        "kl",
        "Divergence from the base",
        "nats per token",
        "neither",
        "Kullback-Leibler divergence of the model from its base over the tokens of chosen answers. 0 is no change.",
    ),
    Figure(
        "perplexity",
        "Perplexity of chosen answers",
        "perplexity",
        "lower",
        "How many tokens the model hesitates between; 1 is certainty. A jump means that something broke.",
    ),
    Figure(
        "answer_tokens",
        "Length of answers",
        "tokens",
        "neither",
        "Mean length of greedy answers. Preference training often makes answers longer.",
    ),
    Figure("refusals", "Refusals", "share", "neither", "Answers that decline without giving help, by stated phrases."),
    Figure("repetition", "Repetition", "share", "lower", "Answers that repeat themselves, by a stated rule."),
    Figure(
        "language_drift",
        "Language drift",
        "share",
        "lower",
        "Answers in another script than their prompt, such as Chinese to an English question.",
    ),
    Figure("unfinished", "Unfinished answers", "share", "lower", "Answers that had not ended at the limit of tokens."),
    Figure(
        "bleu",
        "BLEU",
        "share",
        "higher",
        "Runs of one to four words that an answer shares with its row's own answer: the mean over answers.",
    ),
    Figure("rouge1", "ROUGE-1", "share", "higher", "Single words shared with the row's own answer, as an F-measure."),
    Figure(
        "rougeL",
        "ROUGE-L",
        "share",
        "higher",
        "The longest sequence of words shared with the row's own answer, as an F-measure.",
    ),
)
BY_NAME = {figure.name: figure for figure in FIGURES}


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure of one model by row, and the same of its base where the base has one of its own."""

    figure: Figure
    model: Column
    base: Column | None = None


def measures(measured: Measured, beta: float) -> Iterator[Measure]:
    """All figures that were measured, in the order of `FIGURES`."""
    yield from _of_scores(measured, beta)
    if measured.answers:
        yield from _of_answers(measured)
    if measured.answers and not measured.pairs and not overlap.missing():
        yield from _of_references(measured)


def rewards(measured: Measured, beta: float) -> Floats | None:
    """Reward margin of every pair; None without a base or without pairs."""
    if measured.scores.base is None or not measured.pairs:
        return None
    shift = measured.scores.model - measured.scores.base
    margins: Floats = beta * (shift[:, 0] - shift[:, 1])
    return margins


def correct(margins: Floats) -> Floats:
    """1 where the chosen answer wins, one half for a tie, else 0."""
    wins: Floats = (margins > 0) + 0.5 * (margins == 0)
    return wins


def _of_scores(measured: Measured, beta: float) -> Iterator[Measure]:
    scores = measured.scores
    ones = np.ones(len(scores.model))

    def mean(values: Floats) -> Column:
        return Column(values, ones, measured.groups)

    margins = rewards(measured, beta)
    if margins is not None:
        yield Measure(BY_NAME["accuracy"], mean(correct(margins)))
        yield Measure(BY_NAME["margin"], mean(margins))
    if measured.pairs:
        base = None if scores.base is None else mean(correct(_per_token_margin(scores.base, scores.tokens)))
        own = mean(correct(_per_token_margin(scores.model, scores.tokens)))
        yield Measure(BY_NAME["likelihood_accuracy"], own, base)
    if scores.base is not None:
        shift = scores.model - scores.base
        yield Measure(BY_NAME["chosen_shift"], mean(shift[:, 0]))
        if measured.pairs:
            yield Measure(BY_NAME["rejected_shift"], mean(shift[:, 1]))
    if measured.divergence is not None:
        some = slice(len(measured.divergence))
        yield Measure(BY_NAME["kl"], Column(measured.divergence, scores.tokens[some, 0], measured.groups[some]))
    yield Measure(
        BY_NAME["perplexity"],
        _perplexity(measured, scores.model),
        None if scores.base is None else _perplexity(measured, scores.base),
    )


def _per_token_margin(logps: Floats, tokens: Floats) -> Floats:
    average = logps / tokens
    margin: Floats = average[:, 0] - average[:, 1]
    return margin


def _perplexity(measured: Measured, logps: Floats) -> Column:
    return Column(-logps[:, 0], measured.scores.tokens[:, 0], measured.groups, np.exp)


def _of_answers(measured: Measured) -> Iterator[Measure]:
    own = [facts_of(prompt.question, answer) for prompt, answer in zip(measured.prompts, measured.answers, strict=True)]
    base = [
        facts_of(prompt.question, answer)
        for prompt, answer in zip(measured.prompts, measured.base_answers, strict=False)
    ]
    for name, field in (
        ("answer_tokens", "tokens"),
        ("refusals", "refuses"),
        ("repetition", "repeats"),
        ("language_drift", "drifts"),
        ("unfinished", "unfinished"),
    ):
        yield Measure(BY_NAME[name], _column(own, field), _column(base, field) if base else None)


def _of_references(measured: Measured) -> Iterator[Measure]:
    """What answers have in common with the answers of their rows."""
    references = [prompt.reference for prompt in measured.prompts]
    own = overlap.overlaps([answer.text for answer in measured.answers], references)
    base = None
    if measured.base_answers:
        base = overlap.overlaps([answer.text for answer in measured.base_answers], references)
    for name in overlap.NAMES:
        yield Measure(BY_NAME[name], _by_answer(own[name]), _by_answer(base[name]) if base else None)


def _column(facts: list[TextFacts], field: str) -> Column:
    return _by_answer(np.array([float(getattr(fact, field)) for fact in facts]))


def _by_answer(values: Floats) -> Column:
    return Column(values, np.ones(len(values)), np.arange(len(values)))
