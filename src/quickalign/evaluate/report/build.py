"""From what was measured to the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import numpy as np

import quickalign
from quickalign.core.wire.evaluations import OF_ANSWERS
from quickalign.evaluate import overlap
from quickalign.evaluate.checks import checks
from quickalign.evaluate.figures import Measure, measures
from quickalign.evaluate.gates import gates
from quickalign.evaluate.lm_eval.result import TaskResult
from quickalign.evaluate.measure import Measured
from quickalign.evaluate.report.model import (
    AnswerReport,
    CategoryReport,
    Comparison,
    Difference,
    EvaluationReport,
    FigureReport,
    Model,
)
from quickalign.evaluate.report.verdict import compare, judge
from quickalign.evaluate.spec import EvaluationSpec
from quickalign.evaluate.statistics import Bootstrap, Floats, SignTest, sign_test
from quickalign.evaluate.subject import Subject
from quickalign.evaluate.texts import facts_of
from quickalign.train.report.build import PACKAGES, version_of

MOST_CATEGORIES = 40
_JUDGEMENTS = ("accuracy", "likelihood_accuracy")


def build_report(
    measured: Measured,
    other: Measured | None,
    spec: EvaluationSpec,
    *,
    tasks: tuple[TaskResult, ...] = (),
    seconds: float,
) -> EvaluationReport:
    """Everything that the page and the JSON say.

    Raises:
        OptionError: a limit for a figure that could not be measured.
    """
    bootstrap = Bootstrap(resamples=spec.resamples, confidence=spec.confidence, seed=spec.seed)
    beta = measured.subject.beta
    found = tuple(measures(measured, beta))
    figures = tuple(_figure(one, bootstrap) for one in found)
    sound = checks(measured)
    left_out = "" if measured.pairs or not measured.answers else overlap.missing()
    notes = tuple(note for note in (measured.subject.note, other.subject.note if other else "", left_out) if note)
    return EvaluationReport(
        name=spec.output.resolve().name,
        quickalign=quickalign.__version__,
        spec=spec,
        model=_model(measured.subject),
        rows=len(measured.row_numbers),
        verdict=judge(figures, sound, len(measured.row_numbers)),
        checks=sound,
        figures=figures,
        categories=tuple(_categories(measured, found, bootstrap)),
        comparison=_comparison(measured, other, beta, bootstrap) if other else None,
        tasks=tasks,
        gates=gates(spec, {one.name: one.model.value for one in figures} | {one.name: one.value for one in tasks}),
        answers=tuple(_answers(measured, other)),
        data=measured.data,
        notes=notes,
        finished_at=datetime.now(UTC),
        seconds=seconds,
        versions={name: version for name in PACKAGES if (version := version_of(name))},
    )


def _model(subject: Subject) -> Model:
    manifest = subject.found.manifest
    return Model(
        source=subject.name,
        weights=str(subject.found.weights),
        adapter=str(subject.found.adapter) if subject.found.adapter else None,
        base=subject.base_name or None,
        method=f"{manifest.training_strategy}, {manifest.method}" if manifest else None,
        precision=subject.precision,
        beta=subject.beta,
    )


def _figure(one: Measure, bootstrap: Bootstrap) -> FigureReport:
    figure, base = one.figure, one.base
    return FigureReport(
        name=figure.name,
        title=figure.title,
        unit=figure.unit,
        better=figure.better,
        meaning=figure.meaning,
        model=bootstrap.interval(one.model),
        base=bootstrap.interval(base) if base else None,
        change=bootstrap.difference(one.model, base) if base else None,
        change_test=_test(one, one.model.above - base.above) if base else None,
    )


def _test(one: Measure, differences: Floats) -> SignTest | None:
    return sign_test(differences) if one.figure.name in _JUDGEMENTS else None


def _categories(measured: Measured, found: Sequence[Measure], bootstrap: Bootstrap) -> Iterator[CategoryReport]:
    """The figures over all rows, by category, the largest first."""
    names, counts = np.unique(np.array(measured.categories), return_counts=True)
    if len(names) < 2:
        return
    largest = sorted(zip(counts.tolist(), names.tolist(), strict=True), key=lambda pair: (-pair[0], pair[1]))
    whole = [one for one in found if len(one.model.above) == len(measured.row_numbers)]
    for count, name in largest[:MOST_CATEGORIES]:
        rows = np.array(measured.categories) == name
        figures = {
            one.figure.name: bootstrap.interval(one.model.only(rows))
            for one in whole
            if one.figure.unit in ("share", "reward", "nats", "perplexity") and not _of_answers(one)
        }
        yield CategoryReport(name=name or "(none)", rows=count, figures=figures)


def _of_answers(one: Measure) -> bool:
    return one.figure.name in OF_ANSWERS


def _comparison(measured: Measured, other: Measured, beta: float, bootstrap: Bootstrap) -> Comparison:
    """Row by row; rewards of both with the same beta, or they would not compare."""
    theirs = {one.figure.name: one.model for one in measures(other, beta)}
    differences = []
    for one in measures(measured, beta):
        name = one.figure.name
        if name not in theirs or not np.array_equal(theirs[name].group, one.model.group):
            continue
        differences.append(
            Difference(
                name=name,
                title=one.figure.title,
                unit=one.figure.unit,
                better=one.figure.better,
                model=one.model.value,
                other=theirs[name].value,
                difference=bootstrap.difference(one.model, theirs[name]),
                test=_test(one, one.model.above - theirs[name].above),
            )
        )
    return Comparison(
        other=_model(other.subject),
        sentence=compare(differences, measured.subject.name, other.subject.name, len(measured.row_numbers)),
        differences=tuple(differences),
    )


def _answers(measured: Measured, other: Measured | None) -> Iterator[AnswerReport]:
    theirs = (
        {asked.text: answer.text for asked, answer in zip(other.prompts, other.answers, strict=True)} if other else {}
    )
    for index, (asked, answer) in enumerate(zip(measured.prompts, measured.answers, strict=True)):
        facts = facts_of(asked.question, answer)
        said = {
            "refuses": facts.refuses,
            "another language than the prompt": facts.drifts,
            "not ended": facts.unfinished,
        }
        remarks = [facts.fault] if facts.fault else []
        yield AnswerReport(
            prompt=asked.text,
            model=answer.text,
            base=measured.base_answers[index].text if measured.base_answers else None,
            other=theirs.get(asked.text),
            remarks=(*remarks, *(name for name, holds in said.items() if holds)),
        )
