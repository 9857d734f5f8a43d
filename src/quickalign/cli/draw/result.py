"""What a finished run gives: whether it got better, where everything lies, and what to do next."""

import shlex
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from quickalign.cli.draw import parts
from quickalign.cli.words import count, duration, share, size
from quickalign.train.observer import Evaluation, RunResult

_DIGITS = 16


def evaluation_line(evaluation: Evaluation) -> Text:
    """One measurement of the validation data, on one line."""
    text = Text.assemble((f"  validation at step {evaluation.step:,}", "label"), f"   loss {evaluation.loss:.4f}")
    if evaluation.accuracy is not None:
        text.append("   accuracy ").append(share(evaluation.accuracy), style="value")
    if evaluation.margin is not None:
        text.append(f"   margin {evaluation.margin:+.3f}")
    return text.append(f"   {count(evaluation.rows, 'row')}", style="quiet")


def result_view(result: RunResult) -> Group:
    """The closing view of a run."""
    blocks: list[RenderableType] = [parts.heading("Done", f"in {duration(result.seconds)}")]
    first, last = result.first_evaluation, result.last_evaluation
    if first and last and first.step != last.step:
        blocks += [parts.indented(before_and_after(first, last)), ""]
    blocks += [parts.facts(_facts(result)), "", *_next(result)]
    return Group(*blocks)


def before_and_after(first: Evaluation, last: Evaluation) -> Table:
    """The validation data before and after training."""
    table = parts.table(f"{count(last.rows, 'validation row')}", "before", "after", right=[1, 2])
    if first.accuracy is not None and last.accuracy is not None:
        better = last.accuracy > first.accuracy
        after = Text(share(last.accuracy), style="bold green" if better else "bold yellow")
        table.add_row("preference accuracy", share(first.accuracy), after)
    if first.margin is not None and last.margin is not None:
        table.add_row("reward margin", f"{first.margin:+.3f}", f"{last.margin:+.3f}")
    table.add_row("loss", f"{first.loss:.4f}", f"{last.loss:.4f}")
    name = "answer" if first.logps_rejected is None else "chosen"
    table.add_row(f"log-prob of {name}", f"{first.logps_chosen:.1f}", f"{last.logps_chosen:.1f}")
    if first.logps_rejected is not None and last.logps_rejected is not None:
        table.add_row("log-prob of rejected", f"{first.logps_rejected:.1f}", f"{last.logps_rejected:.1f}")
    return table


def _facts(result: RunResult) -> Iterator[tuple[str, RenderableType]]:
    resumed = f", of which {result.resumed_from:,} in an earlier part" if result.resumed_from else ""
    yield "steps", f"{result.steps:,}{resumed}"
    yield "peak memory", f"{size(result.peak_memory_bytes)}, predicted {size(result.predicted_peak_bytes)}"
    yield "weights", Text.assemble((str(result.adapter), "path"), f"  sha256 {result.adapter_sha256[:_DIGITS]}")
    for name, file in (("report", "report.html"), ("figures", "metrics.jsonl"), ("curves", "tensorboard")):
        if (path := result.output / file).exists():
            yield name, Text(str(path), style="path")


def _next(result: RunResult) -> Iterator[RenderableType]:
    compare = " --compare" if result.adapter.name == "adapter" else ""
    yield Text("  Try it:", style="label")
    run = shlex.quote(str(result.output))
    yield parts.Command(f'quickalign generate {run} "Hello!"{compare}')
