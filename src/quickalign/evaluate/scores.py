"""Log-probabilities of all answers under a model and its base, kept by content so that nothing is computed twice.

They go into the cache that training keeps its reference log-probs in: an evaluation that was interrupted goes on where
it stopped, and the base of ten checkpoints is scored once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from quickalign.core.errors import RunError
from quickalign.data.encode import EncodedRow, IntArray
from quickalign.evaluate.statistics import Floats
from quickalign.evaluate.subject import Loaded, Subject, identity
from quickalign.train.scoring.base import Scorer
from quickalign.train.scoring.cache import ReferenceCache
from quickalign.train.scoring.cached import precompute
from quickalign.train.scoring.choose import choose_scorer
from quickalign.train.scoring.records import RecordFile, digest_of

TOKEN_BUDGET = 2048
ROWS_AT_ONCE = 64

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class Scores:
    """Per row and answer (chosen, rejected; or the one answer), [rows, answers].

    Attributes:
        model: log-probabilities under the model, in nats, the end mark included.
        base: the same under the base; None without one.
        tokens: how many tokens each has.
    """

    model: Floats
    base: Floats | None
    tokens: Floats


def score(subject: Subject, loaded: Loaded, rows: Sequence[EncodedRow], progress: Progress) -> Scores:
    """Score all `rows`, whose tokens are those of `subject`, under the model and its base.

    Raises:
        RunError: the model gives an answer no finite probability.
    """
    cache = ReferenceCache()
    own = identity(subject.found, subject.precision)
    model = score_rows(loaded.model, cache, own, rows, lambda done, total: progress("score the model", done, total))
    base = None
    if subject.base is not None:
        theirs = identity(subject.base, subject.precision)
        with loaded.as_base() as other:
            base = score_rows(other, cache, theirs, rows, lambda done, total: progress("score the base", done, total))
    tokens = np.array([[len(answer) for answer in row.answers] for row in rows], dtype=np.float64)
    return Scores(model, base, tokens)


def score_rows(
    model: nn.Module,
    cache: ReferenceCache,
    own: dict[str, str],
    rows: Sequence[EncodedRow],
    progress: Callable[[int, int], None],
) -> Floats:
    """[rows, answers] log-probabilities under `model`, whose identity in the cache is `own`.

    Raises:
        RunError: an answer has no finite probability.
    """
    scorer, device = scorer_for(model, rows), next(model.parameters()).device
    records = cache.open({**own, "scoring": f"evaluate/{type(scorer).__name__}/{device.type}"})
    with torch.no_grad():
        precompute(model, scorer, records, rows, rows_per_batch=ROWS_AT_ONCE, progress=progress, write=cache.has_room())
    return np.array([[_stored(records, row, answer) for answer in row.answers] for row in rows])


def scorer_for(model: nn.Module, rows: Sequence[EncodedRow]) -> Scorer:
    """The fastest exact scorer of a model that is loaded to be measured, on `rows`."""
    longest = max(len(row.prompt) + max(map(len, row.answers)) for row in rows)
    scorer, _ = choose_scorer(
        model,
        token_budget=max(TOKEN_BUDGET, longest),
        rows_per_micro=1,
        longest_row=longest,
        pad_id=0,
        device=next(model.parameters()).device,
    )
    return scorer


def _stored(records: RecordFile, row: EncodedRow, answer: IntArray) -> float:
    value = records.find(digest_of(row.prompt, answer))
    if value is None:  # only finite values are kept
        raise RunError(
            f"The model gives an answer of row {row.row} no finite probability, so nothing can be measured.",
            "Its weights are damaged, or the precision is too small; try precision=fp32.",
        )
    return value
