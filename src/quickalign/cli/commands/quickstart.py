"""`quickalign quickstart`: the whole way on the embedded model, explained as it goes."""

# ruff: noqa: PLC0415 - what takes long to import is imported by the command that needs it

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quickalign.cli import arguments as take
from quickalign.cli.terminal import messages, screen, write_json

if TYPE_CHECKING:
    from rich.console import Console

    from quickalign.core.spec import RunSpec

_RUNS = Path("runs")

_ELSEWHERE = "Not deployed: QUICKALIGN_ENDPOINT names a server elsewhere, which cannot read this run's folder."

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
    deploy: Annotated[bool, typer.Option("--deploy/--no-deploy", help="Whether the tuned model is deployed.")] = True,
    json: take.AsJson = False,
) -> None:
    """Align a small model that comes along, see what changed, and talk to it; a few minutes without a GPU."""
    from quickalign.cli import demonstration as demo

    spec = demo.make_spec(output or demo.next_output(_RUNS))
    if json:
        _as_json(spec, deploy=deploy)
    else:
        _on_screen(spec, deploy=deploy)


def _as_json(spec: RunSpec, *, deploy: bool) -> None:
    from quickalign.cli import demonstration as demo
    from quickalign.cli.watch.events import JsonEvents
    from quickalign.train.run import run

    verdict = demo.judge_result(run(spec, JsonEvents()))
    figures = {"accuracy_before": verdict.accuracy_before, "accuracy_after": verdict.accuracy_after}
    write_json({"event": "verdict", **figures, "better": verdict.better, "judged": len(verdict.judged)}, line=True)
    verdict.ensure_promises()
    if deploy:
        _serve_as_json(spec.output)


def _serve_as_json(run_folder: Path) -> None:
    from quickalign.cli.connect import connect
    from quickalign.cli.served import serve

    session = connect()
    if not session.is_own_server:
        write_json({"event": "note", "message": _ELSEWHERE}, line=True)
        return
    served = serve(session, run_folder, lambda service: None)
    for prompt, answer in served.answers:
        write_json({"event": "answer", "prompt": prompt, "answer": answer}, line=True)
    delete = f"quickalign services delete {served.name}"
    write_json(
        {"event": "deployed", "service": served.service, "endpoint": served.endpoint, "delete": delete}, line=True
    )


def _on_screen(spec: RunSpec, *, deploy: bool) -> None:
    from quickalign.cli import demonstration as demo
    from quickalign.cli.draw.verdict import opening, verdict_view
    from quickalign.cli.watch.observer import ConsoleObserver

    console = screen()
    console.print(opening())
    with messages().status("Starting", spinner="dots"):
        from quickalign.train.run import run
    # the answers and the end are drawn below, with what the rule says of them
    with closing(ConsoleObserver(console, narration=_NARRATION, answers=False)) as observer:
        result = run(spec, observer)
    verdict = demo.judge_result(result)
    console.print(verdict_view(verdict, result))
    verdict.ensure_promises()
    if deploy:
        _serve_on_screen(console, spec.output, verdict.first.after)


def _serve_on_screen(console: Console, run_folder: Path, trained_answer: str) -> None:
    from quickalign.cli.connect import connect
    from quickalign.cli.draw import parts
    from quickalign.cli.draw.served import served_view
    from quickalign.cli.watch.service import ServiceView

    session = connect()
    if not session.is_own_server:
        console.print("", parts.caution(_ELSEWHERE), sep="\n")
        return
    with messages().status("Deploying", spinner="dots"):
        from quickalign.cli.served import serve
    with closing(ServiceView(messages())) as view:
        served = serve(session, run_folder, view)
    console.print(served_view(served, trained_answer))
