"""`quickalign compare`: the answers of several models side by side, and who wins."""

# ruff: noqa: PLC0415 - what takes long to import is imported by the command that needs it

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from quickalign.cli import arguments as take
from quickalign.cli.terminal import messages, screen, write_json
from quickalign.core import spec_file
from quickalign.core.errors import OptionError
from quickalign.core.hyperparameters import Precision
from quickalign.evaluate.compare.spec import KEY_VARIABLE, ComparisonSpec, JudgeSpec

_ABOUT = {name: field.description for name, field in ComparisonSpec.model_fields.items()}
_OF_JUDGE = {name: field.description for name, field in JudgeSpec.model_fields.items()}
_JUDGE = "A judge"


def compare(
    models: Annotated[list[str], typer.Argument(metavar="MODEL", help=_ABOUT["models"])],
    *,
    prompts: Annotated[str, typer.Option("--prompts", help=_ABOUT["prompts"])],
    output: Annotated[Path, typer.Option("--output", help=_ABOUT["output"])] = Path("comparison"),
    count: Annotated[int, typer.Option("--count", min=0, help=_ABOUT["count"])] = 0,
    answer_tokens: Annotated[int, typer.Option("--answer-tokens", min=1, help=_ABOUT["answer_tokens"])] = 256,
    precision: Annotated[Precision, typer.Option("--precision", help=_ABOUT["precision"])] = "auto",
    system_prompt: Annotated[
        str | None, typer.Option("--system-prompt", help=_ABOUT["system_prompt"], show_default=False)
    ] = None,
    votes: Annotated[str | None, typer.Option("--votes", help=_ABOUT["votes"], show_default=False)] = None,
    judge: Annotated[
        str | None,
        typer.Option("--judge", help=_OF_JUDGE["endpoint"], show_default=False, rich_help_panel=_JUDGE),
    ] = None,
    judge_model: Annotated[
        str | None,
        typer.Option("--judge-model", help=_OF_JUDGE["model"], show_default=False, rich_help_panel=_JUDGE),
    ] = None,
    judge_price_in: Annotated[
        float | None,
        typer.Option("--judge-price-in", min=0, help=_OF_JUDGE["price_in"], show_default=False, rich_help_panel=_JUDGE),
    ] = None,
    judge_price_out: Annotated[
        float | None,
        typer.Option(
            "--judge-price-out", min=0, help=_OF_JUDGE["price_out"], show_default=False, rich_help_panel=_JUDGE
        ),
    ] = None,
    json: take.AsJson = False,
) -> None:
    """Answer the same prompts with every MODEL, and say who wins against the first.

    quickalign compare qwen2-tiny-instruct runs/a runs/b --prompts questions.txt

    Stated rules always judge; people's votes and a judge behind an OpenAI-compatible endpoint on request. The judge's
    key is read from QUICKALIGN_JUDGE_KEY. Answers and verdicts are kept, so that the same command goes on where it
    stopped and asks nothing twice.
    """
    spec = spec_file.parse(
        ComparisonSpec,
        {
            "models": models,
            "prompts": prompts,
            "output": output,
            "count": count,
            "answer_tokens": answer_tokens,
            "precision": precision,
            "system_prompt": system_prompt,
            "votes": votes,
            "judge": _judge(judge, {"model": judge_model, "price_in": judge_price_in, "price_out": judge_price_out}),
        },
    )
    with messages().status("Starting", spinner="dots"):
        from quickalign.evaluate.compare.run import compare as make
    if json:
        from quickalign.train.observer import Observer

        write_json(make(spec, Observer()))
        return
    from quickalign.cli.draw.comparison import comparison_view
    from quickalign.cli.watch.observer import ConsoleObserver

    console = screen()
    observer = ConsoleObserver(console)
    try:
        found = make(spec, observer)
    finally:
        observer.close()
    console.print(comparison_view(found))


def _judge(endpoint: str | None, options: dict[str, Any]) -> dict[str, Any] | None:
    given = {name: value for name, value in options.items() if value is not None}
    if endpoint is None:
        if given:
            raise OptionError(f"--judge-{next(iter(given)).replace('_', '-')} has no effect without --judge.")
        return None
    if "model" not in given:
        raise OptionError("--judge needs --judge-model.", f"Name the judge; its key is read from {KEY_VARIABLE}.")
    return {"endpoint": endpoint, **given}
