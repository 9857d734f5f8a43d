"""The greedy comparison: equal, a tie, and a difference."""

from quickalign.serve.engine import ReferenceAnswer
from quickalign.serve.proof import compare_greedy

REFERENCE = ReferenceAnswer((1, 2), (5, 6, 7, 9), (1.0, 0.0005, 2.0, 3.0))
ENDS = frozenset({9})


def test_equal_answers_pass_and_are_counted() -> None:
    check = compare_greedy([REFERENCE], [[5, 6, 7, 9]], ENDS, tie=1e-3)
    assert check.passed
    assert check.seen.startswith("4 tokens of 1 answers")
    assert "Ties" not in check.seen


def test_a_tie_is_listed_and_ends_the_comparison() -> None:
    check = compare_greedy([REFERENCE], [[5, 8, 1, 1]], ENDS, tie=1e-3)
    assert check.passed
    assert "prompt 0 token 1" in check.seen


def test_a_difference_fails_with_its_place() -> None:
    check = compare_greedy([REFERENCE], [[5, 6, 8]], ENDS, tie=1e-3)
    assert not check.passed
    assert "prompt 0 token 2 is 8; generate has 7, ahead by 2" in check.seen


def test_nothing_compared_is_no_proof() -> None:
    assert not compare_greedy([], [], ENDS, tie=1e-3).passed
    assert not compare_greedy([REFERENCE], [[]], ENDS, tie=1e-3).passed
