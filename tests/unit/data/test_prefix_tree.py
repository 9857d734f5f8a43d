import numpy as np
from hypothesis import example, given

from quickalign.data.prefix_tree import Beginnings, beginning_of_all, common_beginning, lay_out
from tests.support.texts import TEXTS, as_ids


@given(TEXTS)
@example([[], []])
def test_every_beginning_stands_once_and_sees_itself(texts: list[list[int]]) -> None:
    tree = lay_out([as_ids(text) for text in texts])
    beginnings = {tuple(text[:length]) for text in texts for length in range(1, len(text) + 1)}
    assert len(tree.ids) == len(tree.positions) == len(tree.reach) == len(beginnings)
    everything = np.arange(len(tree.ids))
    for text, places in zip(texts, tree.places, strict=True):
        assert tree.ids[places].tolist() == text
        assert tree.positions[places].tolist() == list(range(len(text)))
        for length, query in enumerate(places.tolist(), start=1):
            seen = np.flatnonzero((everything <= query) & (query < tree.reach))
            assert seen.tolist() == places[:length].tolist()


@given(TEXTS)
def test_common_beginnings_are_those_of_each_two(texts: list[list[int]]) -> None:
    given_texts = [as_ids(text) for text in texts]
    beginnings = Beginnings(given_texts)
    assert beginning_of_all(given_texts) == min(beginnings.of(0))
    for number, text in enumerate(given_texts):
        assert beginnings.of(number).tolist() == [common_beginning(text, other) for other in given_texts]


def test_a_common_beginning_ends_with_the_shorter_text_or_the_first_difference() -> None:
    one = as_ids([5, 6, 7])
    assert common_beginning(one, one) == 3
    assert common_beginning(one, as_ids([5, 6])) == 2
    assert common_beginning(one, as_ids([5, 9, 7, 1])) == 1
    assert common_beginning(one, as_ids([])) == 0
    # Ids of more than one byte are in the order of their numbers.
    assert Beginnings([as_ids([256, 1]), as_ids([1, 2]), as_ids([256, 3])]).of(0).tolist() == [2, 0, 1]
    assert beginning_of_all([]) == 0
