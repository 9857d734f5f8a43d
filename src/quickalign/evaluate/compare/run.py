"""One comparison from its specification to its report; what was answered and judged is found again by the next call.

output/
  work/                       answers and verdicts
  comparison.html, comparison.json   the latter written last
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence

import quickalign
from quickalign.core import atomic, disk
from quickalign.core.errors import OptionError
from quickalign.core.working_folder import working_folder
from quickalign.evaluate.answers import AnswerBook, Asked
from quickalign.evaluate.compare.contest import Answers, Contest, by_judge, by_rules, by_votes
from quickalign.evaluate.compare.judge import Judge
from quickalign.evaluate.compare.page import HTML_FILE, render
from quickalign.evaluate.compare.prompts import read_prompts
from quickalign.evaluate.compare.result import Comparison, ModelAnswers
from quickalign.evaluate.compare.spec import ComparisonSpec
from quickalign.evaluate.compare.votes import Votes, read_votes
from quickalign.evaluate.statistics import Bootstrap
from quickalign.evaluate.subject import Loaded, Subject, find_subject, identity
from quickalign.train.observer import Observer

JSON_FILE = "comparison.json"
_RESAMPLES = 2000
_CONFIDENCE = 0.95


def compare(spec: ComparisonSpec, observer: Observer) -> Comparison:
    """Answer the prompts with every model, and judge each against the first.

    Raises:
        DataError, StorageError: prompts or votes cannot be read.
        ModelError: a model cannot be loaded.
        UnavailableError, AccessError, OptionError: the judge cannot be asked.
        OptionError: another comparison is writing to the folder.
    """
    prompts = read_prompts(spec.prompts, spec.count)
    taken = OptionError(f"Another comparison is writing to {spec.output}.", "Wait for it, or name another folder.")
    with working_folder(spec.output, taken), disk.explained(spec.output):
        # all before the first answers: what cannot be found or read is told before time is spent
        votes = _votes(spec)
        subjects = [_find(spec, name, observer) for name in spec.models]
        models = tuple(_answers(spec, subject, prompts, observer) for subject in subjects)
        contests = tuple(_contests(spec, prompts, models, votes, observer))
        result = Comparison(
            quickalign=quickalign.__version__, spec=spec, prompts=tuple(prompts), models=models, contests=contests
        )
        atomic.write_text(spec.output / HTML_FILE, render(result))
        atomic.write_text(spec.output / JSON_FILE, result.model_dump_json(indent=1) + "\n")
    return result


def _votes(spec: ComparisonSpec) -> dict[str, Votes]:
    """People's votes by the model that is compared with the first; empty where none are asked for."""
    first, *others = spec.models
    return {name: read_votes(spec.votes, (first, name)) for name in others} if spec.votes is not None else {}


def _find(spec: ComparisonSpec, name: str, observer: Observer) -> Subject:
    observer.phase("model", name)
    return find_subject(
        name, alone=True, system_prompt=spec.system_prompt, precision=spec.precision, progress=observer.progress
    )


def _answers(spec: ComparisonSpec, subject: Subject, prompts: Sequence[str], observer: Observer) -> ModelAnswers:
    """One model at a time is in memory."""
    asked = [Asked(text, text, tuple(subject.encoder.encode(text))) for text in prompts]
    book = AnswerBook(spec.output / "work", identity(subject.found, subject.precision))
    loaded = Loaded(subject)
    observer.phase("answers", f"{subject.name}, {len(prompts):,} prompts")
    written = book.answer(
        loaded.model,
        subject.encoder,
        asked,
        max_new_tokens=spec.answer_tokens,
        progress=lambda done, total: observer.progress("answers", done, total),
    )
    del loaded
    gc.collect()
    return ModelAnswers(
        name=subject.name,
        precision=subject.precision,
        answers=tuple(answer.text for answer in written),
        mean_tokens=sum(answer.tokens for answer in written) / len(written),
    )


def _contests(
    spec: ComparisonSpec,
    prompts: Sequence[str],
    models: Sequence[ModelAnswers],
    votes: Mapping[str, Votes],
    observer: Observer,
) -> Iterator[Contest]:
    bootstrap = Bootstrap(resamples=_RESAMPLES, confidence=_CONFIDENCE, seed=spec.seed)
    first, *others = [Answers(model.name, model.answers) for model in models]
    judge = Judge(spec.judge, spec.output / "work" / "rulings.jsonl") if spec.judge else None
    try:
        for second in others:
            yield by_rules(prompts, first, second, bootstrap)
            if second.name in votes:
                yield by_votes(prompts, first, second, votes[second.name], bootstrap)
            if judge is not None and spec.judge is not None:
                observer.phase("judge", f"{spec.judge.model}: {second.name} against {first.name}")
                yield by_judge(
                    prompts,
                    first,
                    second,
                    judge,
                    spec.judge,
                    bootstrap,
                    lambda done, total: observer.progress("judge", done, total),
                )
    finally:
        if judge is not None:
            judge.close()
