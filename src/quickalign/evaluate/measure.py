"""One model measured on one file: data encoded for it, rows scored, the divergence from its base, answers written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from quickalign.core.errors import DataError
from quickalign.data.encode import EncodedRow
from quickalign.data.labels import labels
from quickalign.data.prepare import DataRequest, prepare
from quickalign.data.report import DataReport
from quickalign.evaluate import possible
from quickalign.evaluate.answers import AnswerBook, Asked, Written, choose
from quickalign.evaluate.divergence import divergence
from quickalign.evaluate.scores import Progress, Scores, score
from quickalign.evaluate.seen import with_rows_seen
from quickalign.evaluate.spec import EvaluationSpec
from quickalign.evaluate.statistics import Floats, Integers
from quickalign.evaluate.subject import Loaded, Subject, identity
from quickalign.train.observer import Observer

SEQ_LENGTH = 1024


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything that was found out about one model.

    Attributes:
        data: the check of the file, with this model's tokenizer.
        pairs: whether rows are preference pairs; otherwise they have one answer each.
        row_numbers: the row's number in its file, for every measured row; one file row may give several.
        groups: rows of equal prompts have equal numbers.
        categories: of every measured row; empty texts where it carries none.
        divergence: KL from the base, summed over the tokens of the first answer, for the first rows.
        answers, base_answers: to `prompts`, in their order.
    """

    subject: Subject
    data: DataReport
    pairs: bool
    row_numbers: tuple[int, ...]
    groups: Integers
    categories: tuple[str, ...]
    scores: Scores
    divergence: Floats | None
    prompts: tuple[Asked, ...]
    answers: tuple[Written, ...]
    base_answers: tuple[Written, ...]


def measure(
    subject: Subject, spec: EvaluationSpec, folder: Path, observer: Observer, limits: Iterable[str] = ()
) -> Measured:
    """Measure `subject`; what is computed goes into `folder` and is found again by the next call.

    Args:
        subject: the model.
        spec: what to measure.
        folder: where to work.
        observer: told what happens.
        limits: names of figures that must come about; whether they can is known when the data is read.

    Raises:
        DataError: rows that cannot be used (unless spec.bad_rows is drop), or none that can.
        OptionError: one of `limits` cannot come about.
        ModelError: the weights cannot be loaded.
    """
    request = _request(subject, spec)
    observer.phase("data", spec.data)
    prepared = prepare(request, subject.tokenizer, folder / "data", _named(observer.progress, "data"))
    report = with_rows_seen(prepared, subject)
    observer.data_report(report)
    pairs = prepared.store.kind == "preference"
    possible.check_limits(limits, pairs=pairs, base=subject.base is not None)
    rows = prepared.store[: spec.rows or len(prepared.store)]
    about = labels(request)
    observer.phase("load", f"{subject.name}, {subject.precision}")
    loaded = Loaded(subject)
    observer.phase("score", f"{len(rows):,} rows")
    scores = score(subject, loaded, rows, observer.progress)
    moved = None
    if loaded.has_base and spec.kl_rows:
        observer.phase("divergence", f"{min(spec.kl_rows, len(rows)):,} rows")
        moved = divergence(loaded, rows[: spec.kl_rows], observer.progress)
    questions = {row.row: about[row.row].question for row in rows}
    prompts = choose(rows, questions, subject.encoder, spec.prompts)
    own, base = _answers(subject, loaded, prompts, spec, folder, observer)
    return Measured(
        subject=subject,
        data=report,
        pairs=pairs,
        row_numbers=tuple(row.row for row in rows),
        groups=_groups(rows),
        categories=tuple(about[row.row].category for row in rows),
        scores=scores,
        divergence=moved,
        prompts=prompts,
        answers=own,
        base_answers=base,
    )


def same_rows(one: Measured, other: Measured) -> None:
    """Check that two models were measured on the same rows of the file.

    Raises:
        DataError: one of them could not use a row that the other could.
    """
    if one.row_numbers != other.row_numbers:
        differing = sorted(set(one.row_numbers) ^ set(other.row_numbers))
        raise DataError(
            f"{one.subject.name} and {other.subject.name} can use different rows of the file, first row "
            f"{differing[0] if differing else one.row_numbers[0]}, so they cannot be compared row by row.",
            "Leave such rows out of the file; `quickalign data check` lists them for each model.",
        )


def _request(subject: Subject, spec: EvaluationSpec) -> DataRequest:
    manifest = subject.found.manifest
    trained = manifest.seq_length if manifest else 0
    return DataRequest(
        uri=spec.data,
        data_format=spec.data_format,
        strategy=None,
        bad_rows=spec.bad_rows,
        safe_rlhf_preference=spec.safe_rlhf_preference,
        seq_length=spec.seq_length or max(SEQ_LENGTH, trained),
        apply_chat_template=subject.apply_chat_template,
        system_prompt=subject.system_prompt,
    )


def _groups(rows: Sequence[EncodedRow]) -> Integers:
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(row.prompt.tobytes(), len(numbers)) for row in rows], dtype=np.int64)


def _answers(
    subject: Subject,
    loaded: Loaded,
    prompts: tuple[Asked, ...],
    spec: EvaluationSpec,
    folder: Path,
    observer: Observer,
) -> tuple[tuple[Written, ...], tuple[Written, ...]]:
    """Greedy answers of the model, and of its base to the same token ids."""
    if not prompts:
        return (), ()
    observer.phase("answers", f"{len(prompts):,} prompts")
    book = AnswerBook(folder, identity(subject.found, subject.precision))
    limit, encoder = spec.answer_tokens, subject.encoder
    own = book.answer(
        loaded.model,
        encoder,
        prompts,
        max_new_tokens=limit,
        progress=_named(observer.progress, "answers of the model"),
    )
    if subject.base is None:
        return tuple(own), ()
    base_book = AnswerBook(folder, identity(subject.base, subject.precision))
    with loaded.as_base() as base:
        theirs = base_book.answer(
            base,
            encoder,
            prompts,
            max_new_tokens=limit,
            progress=_named(observer.progress, "answers of the base"),
        )
    return tuple(own), tuple(theirs)


def _named(progress: Progress, name: str) -> Callable[[int, int | None], None]:
    """`progress` for one thing."""
    return lambda done, total: progress(name, done, total)
