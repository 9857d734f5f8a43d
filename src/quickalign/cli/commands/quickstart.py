"""`quickalign quickstart`: the whole way on the embedded model, explained as it goes."""

# ruff: noqa: PLC0415 - what takes long to import is imported by the command that needs it

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quickalign.cli import arguments as take
from quickalign.cli.terminal import messages, screen, write_json

if TYPE_CHECKING:
    from quickalign.core.spec import RunSpec

_RUNS = Path("runs")

_NARRATION = {
    "model": "A small model of Qwen2's architecture that comes with quickalign.",
    "data": "Every row is read, checked and turned into tokens before any time is spent. A second file holds pairs "
    "that are never trained on; their prompts share no wording with the training prompts.",
    "plan": "Memory and work are predicted from the model's shape and the data; what cannot fit would be refused here.",
    "samples": "The untrained model answers some prompts, to compare with later.",
    "train": "Each step makes preferred answers likelier than the others, but holds the model to what it was.",
}


def quickstart(
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", help="The run's folder. By default the next runs/quickstart-N.", show_default=False),
    ] = None,
    json: take.AsJson = False,
) -> None:
    """Align a small model that comes along, and see what changed; takes a few minutes without a GPU."""
    from quickalign.cli import demonstration as demo

    spec = demo.make_spec(output or demo.next_output(_RUNS))
    if json:
        _as_json(spec)
    else:
        _on_screen(spec)


def _as_json(spec: RunSpec) -> None:
    from quickalign.cli import demonstration as demo
    from quickalign.cli.watch.events import JsonEvents
    from quickalign.train.run import run

    verdict = demo.judge_result(run(spec, JsonEvents()))
    figures = {"accuracy_before": verdict.accuracy_before, "accuracy_after": verdict.accuracy_after}
    write_json({"event": "verdict", **figures, "better": verdict.better, "judged": len(verdict.judged)}, line=True)
    verdict.ensure_promises()


def _on_screen(spec: RunSpec) -> None:
    from quickalign.cli import demonstration as demo
    from quickalign.cli.draw.verdict import opening, verdict_view
    from quickalign.cli.watch.observer import ConsoleObserver

    console = screen()
    console.print(opening())
    # the answers and the end are drawn below, with what the rule says of them
    observer = ConsoleObserver(console, narration=_NARRATION, answers=False)
    with messages().status("Starting", spinner="dots"):
        from quickalign.train.run import run
    try:
        result = run(spec, observer)
    finally:
        observer.close()
    verdict = demo.judge_result(result)
    console.print(verdict_view(verdict, result))
    verdict.ensure_promises()
