"""`report.html` of an evaluation: one file that needs no network and no script, in the style of the training report."""

from pathlib import Path

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from quickalign.core import atomic
from quickalign.data import report_html
from quickalign.evaluate.figures import Unit
from quickalign.evaluate.report.model import AnswerReport, EvaluationReport
from quickalign.evaluate.statistics import Interval
from quickalign.train.report import formats

JSON_FILE = "report.json"
HTML_FILE = "report.html"

_UNITS: dict[Unit, str] = {"nats": "nats", "nats per token": "nats/token", "tokens": "tokens"}


def write_report(report: EvaluationReport, output: Path) -> Path:
    """Write `report.html` and then `report.json`, whose presence says that the evaluation is finished."""
    atomic.write_text(output / HTML_FILE, render_report(report))
    atomic.write_text(output / JSON_FILE, report.model_dump_json(indent=1) + "\n")
    return output / HTML_FILE


def render_report(report: EvaluationReport) -> str:
    """The page as text."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("quickalign.evaluate.report"), PackageLoader("quickalign.train.report")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "figure": figure,
        "interval": interval,
        "signed": signed,
        "percent": formats.percent,
        "duration": formats.duration,
        "number": formats.number,
    }
    template = environment.get_template("evaluation.html.j2")
    return str(
        template.render(
            report=report,
            figures={one.name: one for one in report.figures},
            columns=_columns,
            data_style=report_html.style(),
            data_section=report_html.render_section(report.data),
        )
    )


def _columns(answer: AnswerReport) -> list[tuple[str, str]]:
    """The answers that there are, with their titles."""
    named = (("Base", answer.base), ("Model", answer.model), ("Other", answer.other))
    return [(title, text) for title, text in named if text is not None]


def figure(value: float | None, unit: Unit) -> str:
    """A value with its unit; a dash for None."""
    if value is None:
        return "–"
    if unit == "share":
        return formats.percent(value)
    return f"{formats.number(value)}{formats.SPACE}{_UNITS[unit]}" if unit in _UNITS else formats.number(value)


def interval(found: Interval | None, unit: Unit) -> str:
    """The range of a figure, without its unit."""
    if found is None:
        return ""
    share = unit == "share"
    low, high = (formats.percent(v) if share else formats.number(v) for v in (found.low, found.high))
    return f"{low} to {high}"


def signed(value: float | None, unit: Unit) -> str:
    """A difference with its sign; shares in percentage points."""
    if value is None:
        return "–"
    sign = "+" if value > 0 else ""
    if unit == "share":
        return sign + formats.minus(f"{100 * value:.1f}{formats.SPACE}pp")
    return sign + formats.number(value)
