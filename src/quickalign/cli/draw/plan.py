"""The plan of a run: what memory and work are predicted, and what was chosen for the user."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from quickalign.cli.draw import parts
from quickalign.cli.fields import as_options
from quickalign.cli.words import count, duration, size

if TYPE_CHECKING:
    from quickalign.train.plan import Plan

_BAR = 24


def plan_view(plan: Plan) -> Group:
    """Memory by part against what there is, the work, and each automatic choice with its reason."""
    blocks: list[RenderableType] = [parts.facts(_facts(plan)), "", parts.indented(_memory(plan))]
    if plan.decisions:
        blocks += ["", parts.indented(_decisions(plan))]
    if not plan.fits:
        blocks += ["", *_way_out(plan)]
    return Group(*blocks)


def _facts(plan: Plan) -> Iterator[tuple[str, RenderableType]]:
    several = f", {plan.world_size} processes" if plan.world_size > 1 else ""
    yield "device", f"{plan.device}{several}"
    yield "method", f"{plan.method}, computed in {plan.precision}"
    yield "work", f"{count(plan.rows, 'row')}, {count(plan.steps, 'step')} of {plan.rows_per_step:,}"
    extra = plan.computed_tokens_per_epoch / max(plan.tokens_per_epoch, 1) - 1
    computed = f"{plan.tokens_per_epoch:,} an epoch, {plan.computed_tokens_per_epoch:,} computed (+{extra:.0%})"
    yield "tokens", computed
    yield "time", f"about {duration(plan.seconds)} left" if plan.seconds is not None else "known after the first steps"
    enough = plan.disk_bytes <= plan.disk_free_bytes
    yield "disk", Text(f"{size(plan.disk_bytes)} of {size(plan.disk_free_bytes)} free", style="" if enough else "bad")


def _memory(plan: Plan) -> Table:
    table = parts.table("peak memory", "", "", right=[1])
    scale = max(plan.predicted_peak_bytes, 1)
    for name, used in sorted(plan.parts.items(), key=lambda item: -item[1]):
        if used:
            table.add_row(name.replace("_", " "), size(used), Text(parts.bar(used / scale, _BAR), style="path"))
    style = "good" if plan.predicted_peak_bytes <= plan.available_bytes else "bad"
    there_is = Text(f"of {size(plan.available_bytes)} there is", style="quiet")
    table.add_row(Text("in all", style="value"), Text(size(plan.predicted_peak_bytes), style=f"bold {style}"), there_is)
    return table


def _decisions(plan: Plan) -> Table:
    table = parts.table("chosen for you", "", "why")
    for decision in plan.decisions:
        table.add_row(decision.name, Text(decision.value, style="value"), Text(decision.reason, style="quiet"))
    return table


def _way_out(plan: Plan) -> Iterator[RenderableType]:
    yield Text.assemble(("✗ ", "bad"), ("This run does not fit: ", "bold"), " and ".join(_lacks(plan)), ".")
    if plan.predicted_peak_bytes <= plan.available_bytes:
        yield Text("  Free some space, or name an --output on another disk.", style="quiet")
        return
    if not plan.suggestions:
        yield Text("  No setting was found that would fit; take a smaller model or a larger machine.", style="quiet")
        return
    yield Text("  These settings would:", style="quiet")
    for suggestion in plan.suggestions:
        yield Text.assemble(
            ("  → ", "good"), (_typed(suggestion.settings), "command"), f"  {size(suggestion.predicted_peak_bytes)}"
        )
        yield Text(f"    {suggestion.sentence}", style="quiet")


def _lacks(plan: Plan) -> Iterator[str]:
    if plan.predicted_peak_bytes > plan.available_bytes:
        yield f"it needs {size(plan.predicted_peak_bytes)} of memory and there are {size(plan.available_bytes)}"
    if plan.disk_bytes > plan.disk_free_bytes:
        yield f"it writes {size(plan.disk_bytes)} and {size(plan.disk_free_bytes)} are free on the disk"


def _typed(settings: dict[str, Any]) -> str:
    """Settings as they are typed; the model is no option but the first argument."""
    model = f"{settings['model']} instead of the model " if "model" in settings else ""
    return (model + as_options({name: value for name, value in settings.items() if name != "model"})).strip()
