"""BLEU and ROUGE against their equations worked out by hand."""

import math

import pytest

from quickalign.core.errors import OptionError
from quickalign.evaluate import overlap
from tests.support.absent import take_away

REFERENCE, ANSWER = "the cat sat on the mat", "the cat sat on a mat"


def test_figures_by_hand():
    found = overlap.overlaps([ANSWER, REFERENCE, "nothing alike here whatsoever"], [REFERENCE] * 3)
    # Of 6, 5, 4 and 3 runs of one to four words, 5, 3, 2 and 1 are in the reference; both are as long.
    by_hand = math.exp(sum(map(math.log, (5 / 6, 3 / 5, 2 / 4, 1 / 3))) / 4)
    assert found["bleu"][:2] == pytest.approx([by_hand, 1])
    assert found["bleu"][2] < 0.1
    # Five of six words shared, and all five in order.
    assert found["rouge1"] == pytest.approx([5 / 6, 1, 0])
    assert found["rougeL"] == pytest.approx([5 / 6, 1, 0])


def test_order_counts_for_the_longest_sequence_alone():
    found = overlap.overlaps(["d c b a"], ["a b c d"])
    assert (found["rouge1"][0], found["rougeL"][0]) == (1, 1 / 4)


def test_a_short_answer_pays_the_brevity_penalty():
    found = overlap.overlaps(["the cat sat on"], [REFERENCE])
    assert found["bleu"][0] == pytest.approx(math.exp(1 - 6 / 4))


def test_chinese_characters_are_words():
    found = overlap.overlaps(["今天天气很好"], ["今天天气不好"])
    # 今 天 天 气 好 of six; the runs of two: 今天 天天 天气 of five, then two of four, one of three.
    assert found["rouge1"][0] == pytest.approx(5 / 6)
    assert found["bleu"][0] == pytest.approx(math.exp(sum(map(math.log, (5 / 6, 3 / 5, 2 / 4, 1 / 3))) / 4))


def test_a_limit_without_the_libraries_is_refused(monkeypatch):
    overlap.demand(["bleu"])
    take_away(monkeypatch, "rouge_score")
    assert "quickalign[eval]" in overlap.missing()
    overlap.demand(["perplexity"])
    with pytest.raises(OptionError, match="rougeL"):
        overlap.demand(["perplexity", "rougeL"])
