"""What is drawn holds the facts, shows users' text as it is, and fits its width."""

import io
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from quickalign.cli.draw import data_report as data_view
from quickalign.cli.draw import parts
from quickalign.cli.draw.answers import side_by_side
from quickalign.cli.draw.cards import card_view, cards_view
from quickalign.cli.draw.plan import plan_view
from quickalign.cli.draw.result import result_view
from quickalign.cli.draw.row import first_row
from quickalign.cli.terminal import THEME
from quickalign.data.report import BadRow
from quickalign.hub.cards import cards, find_card
from quickalign.train.decision import Suggestion
from tests.support import scripted_run


def drawn(*content, width=80, colours=False):
    stream = io.StringIO()
    console = Console(
        theme=THEME, file=stream, width=width, force_terminal=colours, color_system="truecolor" if colours else None
    )
    console.print(*content, sep="\n", crop=False)
    return stream.getvalue()


def words(text):
    """The text without line ends, so that wrapping does not matter."""
    return " ".join(text.split())


VIEWS = {
    "data": lambda: data_view.full(scripted_run.data_report(bad=25), marks=True),
    "data short": lambda: data_view.short(scripted_run.data_report()),
    "plan": lambda: plan_view(scripted_run.plan()),
    "plan that does not fit": lambda: plan_view(scripted_run.plan(available=10**9)),
    "result": lambda: result_view(scripted_run.result(Path("runs/x"))),
    "card": lambda: card_view(find_card("qwen2-72b-instruct")),
    "cards": lambda: cards_view(cards(), searched=None),
}


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("width", [80, 120])
def test_nothing_is_wider_than_the_terminal(name, width):
    stream = io.StringIO()
    Console(theme=THEME, file=stream, width=width, force_terminal=True, color_system=None, highlight=False).print(
        VIEWS[name]()
    )
    plain = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
    assert max(len(line) for line in plain.splitlines()) <= width


@pytest.mark.parametrize("name", VIEWS)
def test_a_pipe_gets_no_control_characters(name):
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", drawn(VIEWS[name]()))


def test_the_data_report_shows_every_verdict_and_the_first_bad_rows():
    text = words(drawn(data_view.full(scripted_run.data_report(bad=25), marks=True), width=120))
    for fact in ("✓ 75 usable", "✗ 25 bad", "first 20 of 25", "contradictions 2", "chosen = rejected 1", "source"):
        assert fact in text
    assert "3 rows at seq_length 48" in text
    assert "95 % at 44, 99 % at 52, all at seq_length 60" in text
    assert "chosen longer in 97 % of pairs" in text
    assert "26 chosen the number 3 a text" in text
    assert "27 chosen" not in text


def test_a_short_report_still_shows_every_warning_on_one_line():
    report = scripted_run.data_report().model_copy(update={"warnings": ("word " * 50 + "end.", "second")})
    lines = drawn(data_view.short(report)).splitlines()
    assert any(line.endswith("end.") and len(line) > 200 for line in lines)
    assert any("second" in line for line in lines)


def test_a_row_without_colours_marks_what_is_scored():
    row = scripted_run.first_row()
    text = drawn(*first_row(row, marks=True))
    lines = [line.strip() for line in text.splitlines()]
    assert lines[2:5] == ["<|im_start|>|user↵", "|Hi [b]|<|im_end|>↵", "⟨Hello| there|<|im_end|>⟩"]
    assert "7 tokens, 3 scored" in text
    assert "Hi [b]" in text


def test_a_row_in_colours_has_the_same_text_and_scores_in_another_colour():
    row = scripted_run.first_row()
    coloured = drawn(*first_row(row, marks=False), colours=True)
    green = "".join(re.findall(r"\x1b\[37;48;2;(?:20;83;45|21;128;61)m([^\x1b]*)", coloured))
    assert green == "Hello there<|im_end|>"
    plain = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert "Hi [b]<|im_end|>↵" in plain


def test_tokens_that_are_not_listed_are_counted():
    text = drawn(*first_row(scripted_run.first_row().model_copy(update={"hidden": 1234}), marks=True))
    assert "the first 7 tokens" in text
    assert "… 1,234 more tokens" in text


EVIL = "[red]\x1b]0;owned\x07\x9b2J"


def test_control_characters_of_users_are_shown_not_sent():
    report = scripted_run.data_report(bad=1)
    bad = BadRow(row=1, field=EVIL, found=EVIL, expected="a text")
    row = scripted_run.first_row()
    evil_row = row.model_copy(update={"tokens": (row.tokens[0].model_copy(update={"text": EVIL}),)})
    changed = {"uri": EVIL, "bad_rows": (bad,), "unused_fields": (EVIL,), "warnings": (EVIL,), "recognised_by": EVIL}
    evil = report.model_copy(update=changed | {"categories": {EVIL: 3}, "container": EVIL})
    views = (data_view.full(evil, marks=True), data_view.short(evil), *first_row(evil_row, marks=True))
    text = drawn(*views, side_by_side(EVIL, EVIL, EVIL), width=200)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)
    assert text.count("[red]\\x1b]0;owned\\x07") >= 6


def test_a_plan_that_fits_shows_memory_and_choices():
    text = words(drawn(plan_view(scripted_run.plan())))
    for fact in ("base weights 900 MB", "in all 1.2 GB of 16.0 GB there is", "packing on", "40 steps of 8", "(+10%)"):
        assert fact in text
    assert "does not fit" not in text


def test_a_plan_that_does_not_fit_offers_settings_as_they_are_typed():
    plan = scripted_run.plan(available=10**9)
    smaller = Suggestion({"model": "qwen2-0.5b", "seq_length": 64}, 500_000_000, "A smaller model.")
    text = words(drawn(plan_view(replace(plan, suggestions=(*plan.suggestions, smaller)))))
    assert "✗ This run does not fit: it needs 1.2 GB of memory and there are 1.0 GB." in text
    assert "→ --lora-dim 8 --load-in-4bit true 700 MB" in text
    assert "→ qwen2-0.5b instead of the model --seq-length 64 500 MB" in text


def test_a_plan_that_only_lacks_disk_says_so():
    text = words(drawn(plan_view(replace(scripted_run.plan(), disk_free_bytes=1_000_000)), width=120))
    assert "✗ This run does not fit: it writes 30.0 MB and 1.0 MB are free on the disk." in text
    assert "name an --output on another disk" in text


def test_the_closing_view_compares_before_and_after_and_says_where_things_lie(tmp_path):
    (tmp_path / "report.html").touch()
    text = words(drawn(result_view(scripted_run.result(tmp_path)), width=200))
    assert "preference accuracy 50 % 95 %" in text
    assert "peak memory 1.1 GB, predicted 1.2 GB" in text
    assert f"report {tmp_path / 'report.html'}" in text
    assert f'quickalign generate {tmp_path} "Hello!" --compare' in text
    assert "metrics.jsonl" not in text


def test_answers_side_by_side_keep_the_users_brackets():
    text = drawn(side_by_side("Say [red]hi[/red]", "[b]no[/b]", " "))
    assert "❯ Say [red]hi[/red]" in text
    assert "[b]no[/b]" in text
    assert "(empty)" in text


def test_a_search_that_finds_nothing_says_so():
    assert "No model card matches 'zzz'" in drawn(cards_view([], searched="zzz"))


def test_the_card_says_the_mission_s_requirement_and_what_each_method_needs():
    card = find_card("Qwen/Qwen2-72B-Instruct")
    text = words(drawn(card_view(card), width=120))
    assert "80 GB (A100) or better" in text
    assert f"qlora-4bit {card.needs['qlora-4bit']:.1f} GB" in text


@pytest.mark.parametrize(("part", "cells"), [(0, ""), (1, "████"), (0.5, "██"), (2, "████"), (1 / 32, "▏")])
def test_bars(part, cells):
    assert parts.bar(part, 4) == cells


@given(
    st.lists(st.sampled_from(["--lora-dim 8", "--output a/b", "--system-prompt 'Be kind'", "--compare"]), max_size=12),
    st.integers(40, 120),
)
def test_a_broken_command_is_the_same_command_to_a_shell(options, width):
    line = " ".join(["quickalign train model data.json", *options])
    shown = drawn(parts.Command(line), width=width, colours=True)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert shlex.split(plain.replace("\\\n", " ")) == shlex.split(line)
    assert max(len(row) for row in plain.splitlines()) <= width
    assert drawn(parts.Command(line), width=width) == f"  {line}\n"
