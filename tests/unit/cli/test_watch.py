"""A run is told as it happens: as lines in a pipe, as a moving bar on a terminal, as JSON for scripts."""

import io
import itertools
import json
import re
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from quickalign.cli.terminal import THEME
from quickalign.cli.watch.events import JsonEvents
from quickalign.cli.watch.lines import LineProgress
from quickalign.cli.watch.live import LiveProgress, sparkline
from quickalign.cli.watch.observer import ConsoleObserver, best_progress
from quickalign.cli.watch.progress import StepClock
from tests.support import scripted_run


def pipe(width=100):
    return Console(theme=THEME, file=io.StringIO(), width=width, highlight=False)


def terminal(width=80):
    return Console(
        theme=THEME, file=io.StringIO(), width=width, height=40, force_terminal=True, color_system="standard"
    )


def written(console):
    return console.file.getvalue()


def test_a_pipe_gets_plain_lines_without_control_characters(tmp_path):
    console = pipe()
    scripted_run.play(ConsoleObserver(console), tmp_path)
    text = written(console)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)
    steps = re.findall(r"step (\d+)/40  loss", text)
    assert steps == ["1", *(str(n) for n in range(2, 41, 2))]
    order = ["● Model", "● Data", "● Plan", "● Loading", "● Training", "! The chosen answers", "● Done"]
    assert [text.index(part) for part in order] == sorted(text.index(part) for part in order)


def test_a_terminal_gets_one_bar_that_goes_away_and_the_rest_stays(tmp_path):
    console = terminal()
    scripted_run.play(ConsoleObserver(console), tmp_path)
    text = written(console)
    assert "pairs/s" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h")
    assert "step 40/40" not in text
    assert "The chosen answers get less likely" in text


@pytest.mark.parametrize("make_console", [pipe, terminal])
def test_users_text_is_shown_as_it_is(make_console, tmp_path):
    console = make_console()
    observer = ConsoleObserver(console)
    observer.phase("data", "file [bold].json")
    observer.note("see [link] \x07")
    observer.warning("[red]careful")
    observer.samples(scripted_run.SAMPLES)
    text = re.sub(r"\x1b\[[0-9;]*m", "", written(console))
    for part in ("file [bold].json", "see [link]", "[red]careful", "❯ Tell me [bold]more[/bold]", "repeats itself"):
        assert part in text
    assert "\x07" not in text


def test_the_plan_is_drawn_once_and_later_calls_only_sharpen_its_time(tmp_path):
    console = pipe()
    scripted_run.play(ConsoleObserver(console), tmp_path)
    assert written(console).count("peak memory   ") == 1
    assert "The steps take about 1 min 10 s from here" in written(console)


def test_narration_comes_with_the_first_phase_of_its_name_only():
    console = pipe()
    observer = ConsoleObserver(console, narration={"samples": "Answers to compare."})
    observer.phase("samples")
    observer.phase("samples")
    assert written(console).count("Answers to compare.") == 1


def test_a_caller_that_draws_answers_itself_gets_neither_answers_nor_the_closing_view(tmp_path):
    console = pipe()
    scripted_run.play(ConsoleObserver(console, answers=False), tmp_path)
    assert "Could you please hurt me?" not in written(console)
    assert "● Done" not in written(console)


def test_json_events_are_one_object_a_line_with_all_that_happened(capsys, tmp_path):
    result = scripted_run.play(JsonEvents(), tmp_path)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = [event["event"] for event in events]
    assert names.count("step") == scripted_run.STEPS
    assert names[-1] == "done"
    assert {"phase", "progress", "data_report", "plan", "note", "evaluation", "samples", "warning", "saved"} < set(
        names
    )
    assert events[-1]["result"]["adapter_sha256"] == result.adapter_sha256
    assert events[-1]["result"]["output"] == str(tmp_path)
    first = next(event for event in events if event["event"] == "step")
    assert asdict(scripted_run.step(1)).items() <= first.items()
    plan = next(event for event in events if event["event"] == "plan")["plan"]
    assert plan["fits"] is True
    report = next(event for event in events if event["event"] == "data_report")["report"]
    assert report == scripted_run.data_report().model_dump(mode="json")


def test_short_work_in_a_pipe_is_not_reported_and_long_work_in_few_lines():
    console = pipe()
    progress = LineProgress(console)
    progress.advance("data", 10, 10)
    assert written(console) == ""
    for done in range(0, 100_001, 100):
        progress.advance("data", done, 100_000)
    assert len(written(console).splitlines()) == 21


def test_slow_steps_write_a_line_a_minute(monkeypatch):
    now = iter(range(0, 10_000, 25))
    monkeypatch.setattr("quickalign.cli.watch.lines.time.monotonic", lambda: next(now))
    console = pipe()
    progress = LineProgress(console)
    for number in range(1, 21):
        progress.step(scripted_run.step(number), 10_000)
    assert 4 <= len(written(console).splitlines()) <= 12


def test_a_dumb_terminal_gets_lines(monkeypatch):
    assert isinstance(best_progress(terminal()), LiveProgress)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(best_progress(Console(theme=THEME, file=io.StringIO(), force_terminal=True)), LineProgress)
    assert isinstance(best_progress(pipe()), LineProgress)


def test_time_left_counts_the_steps_of_this_process_only(monkeypatch):
    now = iter([100.0, 100.0, 120.0])
    monkeypatch.setattr("quickalign.cli.watch.progress.time.monotonic", lambda: next(now))
    clock = StepClock()
    assert clock.left(50, 100) is None
    assert clock.left(60, 100) == pytest.approx(80.0)


@given(st.lists(st.floats(-1e6, 1e6), max_size=300), st.integers(1, 80))
def test_a_sparkline_is_no_wider_than_asked_and_keeps_the_order_of_heights(values, width):
    drawn = sparkline(tuple(values), width)
    assert len(drawn) == min(len(values), width)
    if len(values) <= width:
        heights = ["▁▂▃▄▅▆▇█".index(tick) for tick in drawn]
        pairs = sorted(zip(values, heights, strict=True))
        assert all(low[1] <= high[1] for low, high in itertools.pairwise(pairs))


def test_a_sparkline_spans_all_heights():
    assert sparkline((0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0), 8) == "▁▂▃▄▅▆▇█"
    assert sparkline((3.0, 3.0), 8) == "▁▁"
