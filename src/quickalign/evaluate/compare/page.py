"""`comparison.html`: all answers side by side and who wins, in the style of the other reports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from quickalign.evaluate.compare.result import Comparison
from quickalign.train.report import formats

HTML_FILE = "comparison.html"
MOST_PROMPTS = 200


@dataclass(frozen=True, slots=True)
class Column:
    """One model's answer to a prompt, and by whom it was preferred to the first model's."""

    name: str
    text: str
    wins: tuple[str, ...]


def render(result: Comparison) -> str:
    """The page as text; it shows the first prompts, the JSON holds all."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("quickalign.evaluate.compare"), PackageLoader("quickalign.train.report")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": formats.percent, "number": formats.number}
    rows = [(prompt, tuple(_columns(result, at))) for at, prompt in enumerate(result.prompts[:MOST_PROMPTS])]
    return str(environment.get_template("comparison.html.j2").render(result=result, rows=rows))


def _columns(result: Comparison, at: int) -> Iterator[Column]:
    for number, model in enumerate(result.models):
        side = "first" if number == 0 else "second"
        own = [one for one in result.contests if (one.first if number == 0 else one.second) == model.name]
        wins = [one.by if number else f"{one.by}, against {one.second}" for one in own if one.verdicts[at] == side]
        yield Column(model.name, model.answers[at], tuple(wins))
