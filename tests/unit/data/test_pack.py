from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quickalign.data.encode import EncodedPair, EncodedRow, EncodedSample
from quickalign.data.pack import PackedSequence, pack

ids = st.lists(st.integers(0, 5), min_size=1, max_size=9)
# Few different prompts, so that rows share them often.
prompts = st.lists(st.integers(0, 1), min_size=0, max_size=3)
pairs = st.lists(st.tuples(prompts, ids, ids), min_size=1, max_size=12)


def pair(row: int, prompt: Sequence[int], chosen: Sequence[int], rejected: Sequence[int]) -> EncodedPair:
    prompt_ids, chosen_ids, rejected_ids = (np.array(x, dtype=np.int32) for x in (prompt, chosen, rejected))
    return EncodedPair(row, prompt_ids, chosen_ids, rejected_ids)


def context(sequence: PackedSequence, source: int) -> list[Any]:
    """The ids that the token at `source` sees, itself included."""
    return sequence.ids[: source + 1][sequence.reach[: source + 1] > source].tolist()


def expected_contexts(row: EncodedRow) -> list[tuple[list[int], int]]:
    """For every scored token of a row's answers: all ids before it, and its own."""
    found = []
    for answer in row.answers:
        whole = [*row.prompt.tolist(), *answer.tolist()]
        found += [(whole[:place], whole[place]) for place in range(max(len(row.prompt), 1), len(whole))]
    return found


@given(pairs, st.integers(1, 60))
def test_every_scored_token_sees_exactly_what_stands_before_it(rows: list[Any], budget: int) -> None:
    encoded = [pair(i, *row) for i, row in enumerate(rows)]
    seen: list[int] = []
    for sequence in pack(encoded, budget):
        seen += sequence.rows
        expected = [item for position in sequence.rows for item in expected_contexts(encoded[position])]
        found = [
            (context(sequence, source), target)
            for source, target in zip(sequence.sources.tolist(), sequence.targets.tolist(), strict=True)
        ]
        assert found == expected
        for source in sequence.sources.tolist():
            assert sequence.positions[source] == len(context(sequence, source)) - 1
        counts = [[len(a) - (len(encoded[p].prompt) == 0) for a in encoded[p].answers] for p in sequence.rows]
        assert sequence.lengths.tolist() == counts
        assert list(sequence.rows) == sorted(sequence.rows)
    assert sorted(seen) == list(range(len(rows)))


@given(pairs, st.integers(1, 60))
def test_the_budget_is_kept_except_by_a_row_that_exceeds_it_alone(rows: list[Any], budget: int) -> None:
    for sequence in pack([pair(i, *row) for i, row in enumerate(rows)], budget):
        assert len(sequence.ids) <= budget or len(sequence.rows) == 1
        assert len(sequence.ids) == len(sequence.positions) == len(sequence.reach)


def test_a_prompt_stands_once_for_all_its_pairs() -> None:
    rows = [pair(1, [7, 8, 9], [1, 2], [3, 4, 5]), pair(2, [6], [1, 1], [2, 2]), pair(3, [7, 8, 9], [4, 4], [5, 5])]
    (sequence,) = pack(rows, 100)
    assert sequence.ids.tolist() == [6, 1, 2, 7, 8, 9, 1, 3, 4, 4, 5]
    assert sequence.positions.tolist() == [0, 1, 1, 0, 1, 2, 3, 3, 4, 3, 3]
    assert sequence.reach.tolist() == [3, 2, 3, 11, 11, 11, 7, 9, 9, 10, 11]
    assert sequence.rows == (0, 1, 2)


def test_what_prompts_and_answers_begin_with_stands_once() -> None:
    frame = [9, 9, 9]
    rows = [pair(1, [*frame, 1, 2], [5, 6, 7], [5, 6, 8, 8]), pair(2, [*frame, 1, 3], [5, 0], [6, 0])]
    (sequence,) = pack(rows, 100)
    assert sequence.ids.tolist() == [*frame, 1, 2, 5, 6, 8, 3, 5, 6]
    assert sequence.positions.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 5]
    assert sequence.sources.tolist() == [4, 5, 6, 4, 5, 6, 7, 8, 9, 8, 10]
    assert sequence.targets.tolist() == [5, 6, 7, 5, 6, 8, 8, 5, 0, 6, 0]
    assert sequence.lengths.tolist() == [[3, 4], [2, 2]]


def test_a_row_goes_where_it_has_most_in_common() -> None:
    systems = [[s] * 20 for s in (1, 2)]
    rows = [pair(i, [*systems[i % 2], 10 + i], [3, 3], [4, 4]) for i in range(6)]
    sequences = pack(rows, 30)
    assert [sequence.rows for sequence in sequences] == [(0, 2, 4), (1, 3, 5)]
    assert [len(sequence.ids) for sequence in sequences] == [29, 29]


def test_a_prompt_is_repeated_where_its_pairs_exceed_the_budget() -> None:
    rows = [pair(i, [7] * 10, [10 + i] * 6, [20 + i] * 6) for i in range(4)]
    sequences = pack(rows, 30)
    assert [len(sequence.ids) for sequence in sequences] == [30, 30]
    assert [sequence.rows for sequence in sequences] == [(0, 1), (2, 3)]


def test_first_fit_fills_sequences() -> None:
    rows = [pair(i, [i] * (size - 2), [1, 1], [2, 2]) for i, size in enumerate((30, 70, 20, 60, 10, 10))]
    sequences = pack(rows, 100)
    assert [len(sequence.ids) for sequence in sequences] == [100, 100]
    assert [sequence.rows for sequence in sequences] == [(0, 1), (2, 3, 4, 5)]


def test_samples_are_packed_with_one_answer_each() -> None:
    rows = [EncodedSample(i, np.array([i], dtype=np.int32), np.array([5, 6, 7], dtype=np.int32)) for i in range(2)]
    (sequence,) = pack(rows, 100)
    assert sequence.ids.tolist() == [0, 5, 6, 1, 5, 6]
    assert sequence.sources.tolist() == [0, 1, 2, 3, 4, 5]
    assert sequence.lengths.tolist() == [[3], [3]]
