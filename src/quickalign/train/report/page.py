"""`report.html`: one file that needs no network and no script, made from a `Report` and the run's metrics."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from quickalign.core import atomic
from quickalign.core.hyperparameters import Hyperparameters
from quickalign.data import report_html
from quickalign.train.observer import Evaluation, StepMetrics
from quickalign.train.report import formats
from quickalign.train.report.chart import draw
from quickalign.train.report.charts import charts
from quickalign.train.report.commands import commands
from quickalign.train.report.curves import smoothing_window
from quickalign.train.report.model import Report

JSON_FILE = "report.json"
HTML_FILE = "report.html"

GROUPS = {
    "mission": "Basics",
    "objective": "Objective",
    "optimisation": "Optimisation",
    "adapter": "Adapter",
    "machine": "Machine",
    "saving": "Watching and saving",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One option as the page shows it."""

    name: str
    value: str
    default: str
    changed: bool
    description: str


def write_report(report: Report, steps: Sequence[StepMetrics], output: Path) -> Path:
    """Write `report.json` and `report.html` into the run's folder; returns the path of the page."""
    page = render_report(report, steps)
    atomic.write_text(output / JSON_FILE, report.model_dump_json(indent=1) + "\n")
    atomic.write_text(output / HTML_FILE, page)
    return output / HTML_FILE


def render_report(report: Report, steps: Sequence[StepMetrics]) -> str:
    """The page as text."""
    return str(
        _environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            charts=[(chart, draw(chart)) for chart in charts(steps, report.evaluations)],
            window=smoothing_window(len(steps)),
            evaluations=_ends(report.evaluations),
            groups=_settings(report.spec.hyperparameters),
            commands=commands(report),
            data_style=report_html.style(),
            data_sections=_data_sections(report),
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("quickalign.train.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "bytes": formats.size,
        "duration": formats.duration,
        "number": formats.number,
        "percent": formats.percent,
        "change": formats.change,
    }
    return environment


def _data_sections(report: Report) -> list[tuple[str, Markup]]:
    """The whole data reports, as (title, section)."""
    found = [("The whole report on the training data", report_html.render_section(report.data))]
    if report.validation_data:
        section = report_html.render_section(report.validation_data)
        found.append(("The whole report on the validation data", section))
    return found


def _ends(evaluations: Sequence[Evaluation]) -> tuple[Evaluation, Evaluation] | None:
    """The first and the last evaluation, where there are two."""
    return (evaluations[0], evaluations[-1]) if len(evaluations) > 1 else None


def _settings(parameters: Hyperparameters) -> dict[str, list[Setting]]:
    groups: dict[str, list[Setting]] = {title: [] for title in GROUPS.values()}
    for name, field in Hyperparameters.model_fields.items():
        extra: Any = field.json_schema_extra
        value, default = getattr(parameters, name), field.default
        setting = Setting(
            name=name,
            value=formats.option(value, extra["unit"]),
            default=formats.option(default, extra["unit"]),
            changed=value != default,
            description=field.description or "",
        )
        groups[GROUPS[extra["group"]]].append(setting)
    return groups
