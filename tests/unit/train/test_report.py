"""The report: curves that keep their peaks, a verdict that claims no more than was measured, and a page that is safe."""

import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quickalign.core.hyperparameters import Hyperparameters
from quickalign.core.options import parse
from quickalign.train.observer import Evaluation, SampleAnswer
from quickalign.train.report import Report, build_report, formats, render_report, write_report
from quickalign.train.report.chart import Chart, draw
from quickalign.train.report.charts import charts
from quickalign.train.report.commands import train_line
from quickalign.train.report.curves import MOST_POINTS, make_curve, moving_mean, smoothing_window, thin
from quickalign.train.report.ticks import nice_ticks, tick_labels
from quickalign.train.report.verdict import judge
from tests.support.reports import make_evaluations, make_parts, make_spec, make_steps

numbers = st.floats(-1e6, 1e6)
series = st.lists(numbers, min_size=1, max_size=3000).map(lambda values: list(enumerate(values, 1)))


class Page(HTMLParser):
    """What a browser would see: every tag with its attributes, and the text of the body."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "line", "path", "circle", "!doctype"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def page(report: Report, count: int = 160) -> Page:
    return Page(render_report(report, make_steps(count)))


@given(series, st.integers(10, 700))
def test_thinning_keeps_ends_extremes_and_order(points: list[tuple[float, float]], most: int) -> None:
    kept = thin(points, most)
    assert len(kept) <= most
    assert set(kept) <= set(points)
    assert list(kept) == sorted(kept)
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    values, thinned = [v for _, v in points], [v for _, v in kept]
    assert (min(values), max(values)) == (min(thinned), max(thinned))


@given(series, st.integers(1, 50))
def test_the_moving_mean_is_the_mean_of_its_window(points: list[tuple[float, float]], window: int) -> None:
    smooth = moving_mean(points, window)
    assert [step for step, _ in smooth] == [step for step, _ in points]
    for index in {0, len(points) // 2, len(points) - 1}:
        values = [v for _, v in points[max(0, index - window + 1) : index + 1]]
        assert smooth[index][1] == pytest.approx(math.fsum(values) / len(values), abs=1e-3)


def test_a_hundred_thousand_steps_stay_drawable_and_keep_a_single_peak() -> None:
    points = [(step, 1.0) for step in range(1, 100_001)]
    points[54_321] = (54_322, 99.0)
    curve = make_curve("x", "a", points)
    assert len(curve.points) <= MOST_POINTS
    assert len(curve.trend) <= MOST_POINTS
    assert (54_322, 99.0) in curve.points
    assert len(draw(Chart("t", (curve,)))) < 40_000


@given(numbers, st.lists(st.floats(-1e-12, 1e-12), min_size=1, max_size=5))
@example(0.001, [-5e-13, 0.0, 5e-13])
def test_constants_up_to_rounding_and_single_points_are_drawn(value: float, noise: list[float]) -> None:
    curve = make_curve("x", "a", [(step, value + shift) for step, shift in enumerate(noise)])
    assert "nan" not in draw(Chart("t", (curve,)))


@pytest.mark.parametrize(("count", "window"), [(1, 1), (39, 1), (40, 5), (400, 10), (100_000, 2500)])
def test_short_curves_are_not_smoothed(count: int, window: int) -> None:
    assert smoothing_window(count) == window


@given(numbers, st.floats(1e-9, 1e6))
def test_ticks_are_round_few_inside_and_evenly_spaced(low: float, width: float) -> None:
    high = low + width
    if high <= low or width < abs(low) * 1e-9:
        return
    ticks = nice_ticks(low, high)
    assert 1 <= len(ticks) <= 6
    slack = 1e-6 * max(width, abs(low))
    assert all(low - slack <= tick <= high + slack for tick in ticks)
    assert len(tick_labels(ticks)) == len(ticks)


@pytest.mark.parametrize(
    ("ticks", "labels"),
    [
        ([0.0, 0.25, 0.5], ["0.00", "0.25", "0.50"]),
        ([-4.0, -2.0, 0.0], ["−4", "−2", "0"]),
        ([0.0, 2e-4, 4e-4], ["0", "2e-4", "4e-4"]),
        ([0.0, 20_000.0, 40_000.0], ["0k", "20k", "40k"]),
    ],
)
def test_tick_labels_have_the_decimals_they_need(ticks: list[float], labels: list[str]) -> None:
    assert tick_labels(ticks) == labels


def test_whole_ticks_for_a_run_of_one_step() -> None:
    assert nice_ticks(1, 1, whole=True) == [1]
    assert nice_ticks(1, 3, whole=True) == [1, 2, 3]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.6931471, "0.6931"),
        (0.5, "0.5"),
        (12.5, "12.5"),
        (-1204.4, "−1,204"),
        (5e-5, "5.0e-05"),
        (0, "0"),
        (None, "–"),
    ],
)
def test_numbers(value: float | None, text: str) -> None:
    assert formats.number(value) == text


def test_sizes_and_times() -> None:
    assert formats.size(999) == "999\u00a0bytes"
    assert formats.size(1_130_000_000) == "1.13\u00a0GB"
    assert formats.duration(59.96) == "1\u00a0min 00\u00a0s"
    assert formats.duration(7800) == "2\u00a0h 10\u00a0min"
    assert formats.option(1, "epochs") == "1"
    assert formats.option(2, "epochs") == "2 epochs"


def evaluation(step: int, accuracy: float | None, loss: float = 0.5, rows: int = 100) -> Evaluation:
    return Evaluation(step, loss, accuracy, 0.0, -1.0, -2.0, rows)


@pytest.mark.parametrize(
    ("before", "after", "rows", "outcome"),
    [
        (0.5, 0.94, 100, "better"),
        (0.5, 0.55, 100, "unclear"),
        (0.5, 0.55, 10_000, "better"),
        (0.9, 0.5, 100, "worse"),
        (0.5, 1.0, 2, "unclear"),
    ],
)
def test_the_verdict_needs_two_standard_errors(before: float, after: float, rows: int, outcome: str) -> None:
    verdict = judge(evaluation(0, before, rows=rows), evaluation(9, after, rows=rows))
    assert verdict.outcome == outcome


def test_without_validation_nothing_is_claimed() -> None:
    assert judge(None, None).outcome == "unmeasured"
    assert judge(evaluation(0, 0.5), evaluation(0, 0.5)).outcome == "unmeasured"


def test_sft_is_judged_by_its_loss() -> None:
    assert judge(evaluation(0, None, 2.0), evaluation(9, None, 1.0)).outcome == "better"
    assert judge(evaluation(0, None, 1.0), evaluation(9, None, 2.0)).outcome == "worse"


def test_the_json_is_the_model(tmp_path: Path) -> None:
    parts = make_parts(tmp_path)
    report = build_report(parts)
    assert write_report(report, parts.steps, tmp_path) == tmp_path / "report.html"
    again = Report.model_validate_json((tmp_path / "report.json").read_text())
    assert again == report
    assert again.metrics.steps == len(parts.steps)
    assert again.metrics.lowest_loss == min(step.loss for step in parts.steps)
    assert again.result.bytes == 1500
    assert again.options_changed == ("training_strategy", "num_train_epochs", "load_in_4bit")
    assert again.memory.error == pytest.approx(1_031 / 1_130 - 1)


def test_the_page_asks_for_nothing_from_outside_and_needs_no_script(tmp_path: Path) -> None:
    shown = page(build_report(make_parts(tmp_path)))
    assert shown.open == []
    for tag, attributes in shown.tags:
        assert tag not in {"script", "link", "img", "iframe", "object", "base"}
        assert not any(name.startswith("on") for name in attributes)
        assert attributes.get("href", "#")[:1] == "#"  # type: ignore[index]
    text = render_report(build_report(make_parts(tmp_path)), make_steps(9))
    assert not re.search(r"https?:|//|url\(|@import", text.replace("</", ""))
    assert "default-src 'none'" in text


def test_the_page_shows_what_happened(tmp_path: Path) -> None:
    shown = page(build_report(make_parts(tmp_path, warnings=("Something to know.",)))).words
    for expected in (
        "from 50.0\u00a0% to 94.2\u00a0% of 120 validation pairs",
        "Something to know.",
        "Could you please hurt me?",
        "repeats itself",
        "(an empty answer)",
        "Preference accuracy",
        "1.03\u00a0GB predicted (−9\u00a0%)",
        "cd" * 32,
        "quickalign generate",
        f"3 of {len(Hyperparameters.model_fields)} options differ",
    ):
        assert expected in shown


def test_user_texts_are_escaped_wherever_they_stand(tmp_path: Path) -> None:
    nasty = "<script>alert(1)</script>\"'&<b>"
    folder = tmp_path / "<b>run"
    parts = make_parts(
        folder,
        options={"system_prompt": nasty, "training_strategy": "dpo"},
        samples=(SampleAnswer(nasty, nasty, nasty, repeats=False),),
        warnings=(nasty,),
    )
    report = build_report(parts)
    shown = page(report)
    assert [tag for tag, _ in shown.tags if tag in {"script", "b"}].count("script") == 0
    plain = page(build_report(make_parts(tmp_path / "plain")))
    assert len([tag for tag, _ in shown.tags if tag == "b"]) == len([tag for tag, _ in plain.tags if tag == "b"])
    assert shown.words.count(nasty) >= 6


def test_sft_has_no_preference_charts(tmp_path: Path) -> None:
    steps = [
        type(step)(
            **{
                name: None if name.startswith("rewards") or name == "logps_rejected" else getattr(step, name)
                for name in step.__dataclass_fields__
            }
        )
        for step in make_steps(50)
    ]
    titles = [chart.title for chart in charts(steps, [evaluation(0, None), evaluation(50, None)])]
    assert "Preference accuracy" not in titles
    assert "Rewards" not in titles
    assert titles[:2] == ["Loss", "Log-probability of the answer"]
    sft = {"training_strategy": "sft", "load_in_4bit": False}
    evaluations = (evaluation(0, None, 2.0), evaluation(50, None, 1.0))
    report = build_report(make_parts(tmp_path, options=sft, evaluations=evaluations))
    assert "The loss on 100 validation rows fell" in Page(render_report(report, steps)).words


@pytest.mark.parametrize("count", [0, 1, 2, 39, 41])
def test_short_runs_have_a_page(count: int, tmp_path: Path) -> None:
    parts = make_parts(tmp_path, count=count, evaluations=make_evaluations(count)[:1], samples=())
    shown = Page(render_report(build_report(parts), parts.steps))
    assert "Nothing was measured" in shown.words


def test_values_that_are_no_numbers_are_left_out_of_the_curves() -> None:
    bad = make_steps(3)
    bad[1] = type(bad[1])(**{**{n: getattr(bad[1], n) for n in bad[1].__dataclass_fields__}, "loss": math.nan})
    (loss,) = (chart for chart in charts(bad, []) if chart.title == "Loss")
    assert [step for step, _ in loss.curves[0].points] == [1, 3]


def test_the_command_line_says_what_was_trained(tmp_path: Path) -> None:
    parameters = parse({"training_strategy": "dpo", "load_in_4bit": False, "system_prompt": "Don't", "lora_dim": 8})
    line = train_line(make_spec(tmp_path, parameters), "runs/again")
    assert line == (
        "quickalign train qwen2-tiny-instruct sample/train.json --output runs/again --training-strategy dpo "
        "--lora-dim 8 --load-in-4bit false --system-prompt 'Don'\"'\"'t'"
    )
