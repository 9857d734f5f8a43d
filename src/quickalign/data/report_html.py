"""The data report as HTML: one file that needs no network, in light and dark, with every user's text escaped."""

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from quickalign.data.report import FIRST_BAD_ROWS, DataReport, Quantiles

_SECTION = "data_section.html.jinja"
_PAGE = "data_page.html.jinja"
_STYLE = "data_report.css"


def render(report: DataReport) -> str:
    """The whole report as one self-contained page."""
    page = _environment().get_template(_PAGE)
    return page.render(report=report, style=style(), section=render_section(report))


def render_section(report: DataReport) -> Markup:
    """The body of the report, for pages that have a frame and `style` of their own."""
    return Markup(_environment().get_template(_SECTION).render(report=report, shown=FIRST_BAD_ROWS))  # noqa: S704


def style() -> Markup:
    """The style sheet of `render_section`; all its rules are inside the class `data-report`."""
    source, _, _ = PackageLoader("quickalign.data", "templates").get_source(_environment(), _STYLE)
    return Markup(source)  # noqa: S704


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("quickalign.data", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent, "count": _count, "spread": _spread, "visible": _visible, "size": _size}
    return environment


def _percent(share: float) -> str:
    return f"{share:.1%}" if 0 < share < 0.1 else f"{share:.0%}"


def _count(number: int) -> str:
    return f"{number:,}"


def _size(number: int) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= scale:
            return f"{number / scale:.1f} {unit}"
    return f"{number} bytes"


def _spread(quantiles: Quantiles, longest: int) -> dict[str, float]:
    """Where the marks of a length bar stand, in percent of the longest bar."""
    scale = 100 / max(longest, 1)
    return {name: getattr(quantiles, name) * scale for name in ("p50", "p90", "p99", "max")}


def _visible(text: str) -> str:
    """A token's text with its line breaks, tabs and lone spaces made visible."""
    shown = text.replace("\n", "⏎").replace("\r", "␍").replace("\t", "⇥")
    return shown if shown.strip() else shown.replace(" ", "␣") or "∅"
