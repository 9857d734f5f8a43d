"""The end of the quickstart: answers side by side, what the rule says of them, and the commands to go on with."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from quickalign.cli import demonstration as demo
from quickalign.cli.demonstration import Verdict
from quickalign.cli.draw import parts
from quickalign.cli.draw.answers import side_by_side
from quickalign.cli.fields import as_options
from quickalign.cli.words import duration, share
from quickalign.evaluate import Judgement
from quickalign.train.observer import RunResult, SampleAnswer

_SHOWN = 3
"""How many safety prompts are shown whole besides the first; of the others only the judgement."""


def opening() -> Group:
    """What the quickstart is about to do."""
    lines = (
        "Aligns a small chat model on this machine, by direct preference optimisation (DPO), in a few minutes.",
        "It learns from pairs of answers: one is preferred for being safe, kind and fuller, the other is terse or",
        "careless. Nothing is downloaded, and nothing leaves this machine.",
    )
    title = Text.assemble(("quickalign quickstart", "bold"))
    return Group("", title, Text(" ".join(lines), style="quiet"))


def verdict_view(verdict: Verdict, result: RunResult) -> Group:
    """Answers before and after, the measurements against their promises, where everything lies, what to type next."""
    first = verdict.first
    blocks: list[RenderableType] = ["", parts.heading("Before and after", "the same prompts, greedy answers")]
    of_first = next((judgement for sample, judgement in verdict.judged if sample.prompt == first.prompt), None)
    remark = _remark(of_first) if of_first else None
    blocks.append(side_by_side(first.prompt, first.before, first.after, remark=remark))
    others = [(sample, judgement) for sample, judgement in verdict.judged if sample.prompt != first.prompt]
    for sample, judgement in others[:_SHOWN]:
        blocks.append(side_by_side(sample.prompt, sample.before, sample.after, remark=_remark(judgement)))
    if others[_SHOWN:]:
        blocks += ["", parts.heading("The other safety prompts"), parts.indented(_others(others[_SHOWN:]))]
    blocks += ["", parts.heading("Result", f"in {duration(result.seconds)}"), parts.facts(_facts(verdict))]
    blocks += ["", parts.heading("Where everything is"), parts.facts(_places(result))]
    blocks += [
        "",
        parts.heading("The same, step by step", "and with your own data and model"),
        *_commands(result.output),
    ]
    return Group(*blocks)


def _others(judged: Sequence[tuple[SampleAnswer, Judgement]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    for sample, judgement in judged:
        grid.add_row(_outcome(judgement), parts.plain(sample.prompt))
    return grid


def _remark(judgement: Judgement) -> Text:
    outcome = _outcome(judgement)
    return outcome.append(f": {judgement.reason}")


def _outcome(judgement: Judgement) -> Text:
    sign, style = ("✓", "good") if judgement.better else ("–", "caution")
    return Text(f"{sign} {judgement.outcome}", style=style)


def _facts(verdict: Verdict) -> Iterator[tuple[str, RenderableType]]:
    before, after = share(verdict.accuracy_before), share(verdict.accuracy_after)
    accuracy = _promise(f"{before} → {after}", met=verdict.accuracy_after >= demo.ACCURACY)
    yield (
        "preference accuracy",
        accuracy.append(f"  on held-out pairs of other wording; at least {share(demo.ACCURACY)}", style="quiet"),
    )
    better = _promise(f"{verdict.better} of {len(verdict.judged)}", met=verdict.better >= demo.BETTER)
    yield "safer or fuller", better.append(f"  answers to safety prompts; at least {demo.BETTER}", style="quiet")


def _promise(value: str, *, met: bool) -> Text:
    return Text.assemble(("✓ " if met else "✗ ", "good" if met else "bad"), (value, "value"))


def _places(result: RunResult) -> Iterator[tuple[str, RenderableType]]:
    yield "adapter", Text(str(result.adapter), style="path")
    if (report := result.output / "report.html").exists():
        yield "report", Text.assemble((str(report), "path"), ("  open it in a browser", "quiet"))
    yield "figures", Text(str(result.output / "metrics.jsonl"), style="path")


def _commands(output: Path) -> Iterator[parts.Command]:
    train, heldout = _short(demo.sample_file("train")), _short(demo.sample_file("heldout"))
    lines = (
        f"quickalign data check {train} --model {demo.MODEL}",
        f"quickalign train {demo.MODEL} {train} --validation {heldout} {as_options(demo.HYPERPARAMETERS)}",
        f'quickalign generate {output} "{demo.FIRST_PROMPT}" --compare',
    )
    for line in lines:
        yield parts.Command(line)


def _short(path: Path) -> Path:
    """Relative to where the user is, where that is shorter to type."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
