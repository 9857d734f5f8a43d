"""What an evaluation found, on one screen."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from quickalign.cli.draw import parts
from quickalign.cli.words import duration
from quickalign.evaluate.report.model import Comparison, EvaluationReport
from quickalign.evaluate.report.page import HTML_FILE, JSON_FILE, figure, interval, signed
from quickalign.train.report.formats import SPACE, number

_STYLES = {"better": "bold green", "worse": "bold red", "broken": "bold red", "unclear": "bold yellow"}


def evaluation_view(report: EvaluationReport) -> Group:
    """The closing view of an evaluation."""
    blocks: list[RenderableType] = [
        parts.heading("Done", f"in {duration(report.seconds)}"),
        parts.indented(_sentence(report.verdict.sentence, _STYLES.get(report.verdict.outcome, "value"))),
        "",
        parts.indented(_figures(report)),
    ]
    if report.tasks:
        blocks += ["", parts.indented(_tasks(report))]
    if report.comparison:
        blocks += [
            "",
            parts.indented(_sentence(report.comparison.sentence)),
            parts.indented(_both(report.comparison)),
        ]
    if report.categories:
        blocks += ["", parts.indented(_categories(report))]
    blocks += [*_failed(report), "", parts.facts(_files(report))]
    return Group(*blocks)


def _sentence(text: str, style: str = "") -> Text:
    """A sentence of the report, whose fixed spaces a terminal needs not."""
    return parts.plain(text.replace(SPACE, " "), style)


def _figures(report: EvaluationReport) -> Table:
    table = parts.table(f"{report.rows:,} rows", "base", "model", "interval", "change", right=[1, 2, 3, 4])
    for one in report.figures:
        table.add_row(
            one.title,
            figure(one.base.value if one.base else None, one.unit),
            Text(figure(one.model.value, one.unit), style="value"),
            interval(one.model, one.unit),
            signed(one.change.value if one.change else None, one.unit),
        )
    return table


def _tasks(report: EvaluationReport) -> Table:
    table = parts.table("task of lm-eval", "metric", "model", "standard error", "questions", right=[2, 3, 4])
    for one in report.tasks:
        table.add_row(
            parts.plain(one.task),
            parts.plain(one.metric),
            Text(number(one.value), style="value"),
            "–" if one.stderr is None else number(one.stderr),
            "–" if one.samples is None else f"{one.samples:,}",
        )
    return table


def _both(comparison: Comparison) -> Table:
    table = parts.table("", "model", "other", "difference", "interval", right=[1, 2, 3, 4])
    for one in comparison.differences:
        low, high = signed(one.difference.low, one.unit), signed(one.difference.high, one.unit)
        table.add_row(
            one.title,
            figure(one.model, one.unit),
            figure(one.other, one.unit),
            signed(one.difference.value, one.unit),
            f"{low} to {high}",
        )
    return table


def _categories(report: EvaluationReport) -> Table:
    units = {one.name: one.unit for one in report.figures}
    titles = {one.name: one.title for one in report.figures}
    names = [name for name in ("accuracy", "margin", "perplexity") if name in report.categories[0].figures]
    table = parts.table("category", "rows", *(titles[name] for name in names), right=range(1, len(names) + 2))
    for category in report.categories:
        values = [figure(category.figures[name].value, units[name]) for name in names]
        table.add_row(parts.plain(category.name), f"{category.rows:,}", *values)
    return table


def _failed(report: EvaluationReport) -> Iterator[RenderableType]:
    for check in report.checks:
        if not check.passed:
            yield parts.caution(f"{check.name}: {check.seen}")


def _files(report: EvaluationReport) -> Iterator[tuple[str, RenderableType]]:
    for name, file in (("report", HTML_FILE), ("figures", JSON_FILE)):
        yield name, Text(str(report.spec.output / file), style="path")
