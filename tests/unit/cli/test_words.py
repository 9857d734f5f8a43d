"""Numbers in words keep their value and their order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quickalign.cli import words

_FACTORS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


@given(st.integers(0, 10**15))
def test_size_names_the_number_within_its_last_digit(number):
    value, unit = words.size(number).replace(",", "").split(" ")
    assert abs(float(value) * _FACTORS[unit] - number) <= max(0.06 * _FACTORS[unit], 0.006 * number)
    assert float(value) < 1000 or unit == "TB"


@given(st.floats(0, 10**7))
def test_duration_names_the_seconds_within_its_smallest_unit(seconds):
    parts = words.duration(seconds).replace(",", "").split(" ")
    factor = {"s": 1, "min": 60, "h": 3600}
    named = sum(float(value) * factor[unit] for value, unit in zip(parts[::2], parts[1::2], strict=True))
    assert abs(named - seconds) <= {"s": 1, "min": 60, "h": 3600}[parts[-1]]


@given(st.floats(1e-6, 1 - 1e-6))
def test_a_share_below_one_is_never_shown_as_all_or_nothing_unless_it_rounds_there(value):
    shown = float(words.share(value).removesuffix(" %"))
    assert abs(shown - 100 * value) <= 0.5
    if 0.0006 < value < 0.9994:
        assert 0 < shown < 100


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (8.24, "8.2 s"), (59.6, "1 min"), (200, "3 min 20 s"), (7_500, "2 h 5 min"), (-3, "0 s")],
)
def test_duration_examples(seconds, text):
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"), [(494_032_768, "494 M"), (7_615_616_512, "7.6 B"), (999_600_000, "1.0 B"), (5_100_000, "5.1 M")]
)
def test_parameters_examples(number, text):
    assert words.parameters(number) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.424, "0.42"), (12.34, "12.3"), (123.4, "123"), (4123, "4.1k"), (41230, "41k")]
)
def test_rate_examples(value, text):
    assert words.rate(value) == text


def test_count_takes_the_noun_in_the_right_number():
    assert words.count(1, "row") == "1 row"
    assert words.count(1500, "row") == "1,500 rows"
    assert words.count(0, "step") == "0 steps"


def test_one_line_shortens_with_an_ellipsis():
    assert words.one_line("a\n b", 10) == "a b"
    assert words.one_line("abcdef", 4) == "abc…"
