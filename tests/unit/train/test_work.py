"""Counting the work of a run, against the scorer and the packer that do it."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from quickalign.core.hyperparameters import Hyperparameters
from quickalign.data.encode import EncodedPair
from quickalign.data.pack import pack
from quickalign.train.order import BatchOrder
from quickalign.train.scoring.plain import PlainScorer
from quickalign.train.work import clip_lengths, measure_work

LENGTHS = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=40)


def _rows(lengths: list[tuple[int, int, int]], beginning: int = 0) -> list[Any]:
    """Rows of these lengths; their prompts have the first `beginning` tokens in common, and no more."""
    rows = [
        EncodedPair(i, *(np.full(n, 1000 * part + i, dtype=np.int32) for part, n in enumerate(row, start=1)))
        for i, row in enumerate(lengths)
    ]
    for row in rows:
        row.prompt[:beginning] = 0
    return rows


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))
def test_padded_work_is_what_the_plain_scorer_computes(lengths, batch, accumulation, world_size):
    parameters = Hyperparameters(per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation)
    work = measure_work(np.array(lengths), parameters, world_size, token_budget=0)
    rows = _rows(lengths)
    scorer = PlainScorer(pad_id=0, rows_per_micro=batch, device=torch.device("cpu"))
    order = BatchOrder(len(rows), parameters.rows_per_step * world_size, parameters.seed)
    micros = [
        micro
        for step in range(order.steps_per_epoch)
        for rank in range(world_size)
        for micro in scorer.cut([rows[i] for i in order.share(step, rank, world_size)] or [])
    ]
    assert work.computed_tokens_per_epoch == sum(m.inputs["input_ids"].numel() for m in micros)
    assert work.micro_batches_per_step == pytest.approx(len(micros) / order.steps_per_epoch / world_size)
    assert work.largest.positions >= max(m.inputs["input_ids"].numel() for m in micros)
    assert work.largest.scored >= max(len(m.targets) for m in micros)
    assert work.tokens_per_epoch == sum(map(sum, lengths))


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(1, 8), st.integers(20, 200), st.integers(0, 70))
def test_packed_work_is_what_the_packer_makes(lengths, accumulation, budget, beginning):
    parameters = Hyperparameters(gradient_accumulation_steps=accumulation)
    beginning = min(beginning, *(prompt for prompt, *_ in lengths))
    work = measure_work(np.array(lengths), parameters, 1, budget, beginning)
    rows = _rows(lengths, beginning)
    order = BatchOrder(len(rows), accumulation, parameters.seed)
    sequences = [s for i in range(order.steps_per_epoch) for s in pack([rows[j] for j in order.batch(i)], budget)]
    assert work.computed_tokens_per_epoch == sum(len(s.ids) for s in sequences)
    assert work.micro_batches_per_step == pytest.approx(len(sequences) / order.steps_per_epoch)
    assert work.largest.positions >= max(len(s.ids) for s in sequences)


def test_steps_and_rows():
    lengths = np.full((100, 2), 10)
    parameters = Hyperparameters(num_train_epochs=3, gradient_accumulation_steps=4, per_device_train_batch_size=2)
    work = measure_work(lengths, parameters, world_size=2, token_budget=0)
    assert (work.rows, work.rows_per_step, work.steps) == (100, 16, 21)
    assert work.computed_tokens_per_epoch == 2000  # one answer: no prompt is repeated, nothing padded


@given(LENGTHS, st.integers(8, 64))
def test_clipping_takes_prompts_first_and_respects_the_limit(lengths, limit):
    before = np.array(lengths)
    after = clip_lengths(before, limit)
    assert (after[:, :1] + after[:, 1:] <= limit).all()
    assert (after <= before).all()
    kept = before[:, 1:].max(axis=1) <= limit
    assert (after[kept, 1:] == before[kept, 1:]).all()
    whole = (before[:, :1] + before[:, 1:]).max(axis=1) <= limit
    assert (after[whole] == before[whole]).all()
