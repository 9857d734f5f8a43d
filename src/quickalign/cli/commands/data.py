"""`quickalign data check`: what a file of training data holds, before any training."""

# ruff: noqa: PLC0415 - what takes long to import is imported by the command that needs it

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quickalign.cli import arguments as take
from quickalign.cli.help import FACTS, HelpfulCommand, HelpfulGroup
from quickalign.cli.terminal import messages, screen, write_json
from quickalign.core import atomic, storage
from quickalign.core.errors import DataError, OptionError, StorageError
from quickalign.core.hyperparameters import Hyperparameters

if TYPE_CHECKING:
    from quickalign.data.prepare import DataRequest
    from quickalign.data.report import DataReport

app = typer.Typer(cls=HelpfulGroup, no_args_is_help=True)

_DEFAULTS = Hyperparameters()


@app.callback()
def group() -> None:
    """Look at training data before any time is spent on it."""


@app.command(cls=HelpfulCommand)
def check(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Training data: a local path or a URI.")],
    *,
    model: Annotated[
        str | None, typer.Option("--model", help="Count tokens as this model does.", show_default=False)
    ] = None,
    model_revision: take.Revision = None,
    seq_length: Annotated[
        int | None,
        typer.Option("--seq-length", min=8, help=f"Count what this length cuts.{FACTS}default {_DEFAULTS.seq_length}"),
    ] = None,
    system_prompt: Annotated[
        str | None,
        typer.Option(
            "--system-prompt",
            help=f'System message of rows that bring none.{FACTS}default "{_DEFAULTS.system_prompt}"',
        ),
    ] = None,
    no_chat_template: Annotated[
        bool, typer.Option("--no-chat-template", help="Join prompt and answer as they are.")
    ] = False,
    data_format: take.Format = "auto",
    safe_rlhf_preference: take.Preference = "better",
    html: Annotated[
        Path | None, typer.Option("--html", help="Also write the report as one HTML file.", show_default=False)
    ] = None,
    json: take.AsJson = False,
) -> None:
    """Check FILE: its format, bad rows, duplicates, lengths, what is cut, and a row as the model sees it.

    quickalign data check pairs.json --model qwen2-0.5b-instruct --seq-length 512

    Exits with 3 where there are bad rows.
    """
    rendering = {"seq_length": seq_length, "system_prompt": system_prompt}
    _need_model(model, rendering | {"no_chat_template": no_chat_template or None, "model_revision": model_revision})
    if no_chat_template and system_prompt is not None:
        raise OptionError(
            "--system-prompt has no effect with --no-chat-template.",
            "Put the text into the prompts, or leave one of the two out.",
        )
    request = _request(
        rendering,
        uri=file,
        data_format=data_format,
        safe_rlhf_preference=safe_rlhf_preference,
        apply_chat_template=not no_chat_template,
    )
    if html is not None:
        storage.make_folder(html.parent)
        if html.is_dir():
            raise StorageError(f"--html {html} is a folder, not a file.", "Name a file inside it.")
    report = _check(request, model, model_revision, quiet=json)
    _show(report, html, as_json=json)
    if report.bad:
        raise typer.Exit(DataError.exit_code)


def _need_model(model: str | None, options: dict[str, Any]) -> None:
    """Refuse options that act on tokens where no model says what a token is."""
    useless = [name for name, value in options.items() if value is not None]
    if model is None and useless:
        raise OptionError(
            f"--{useless[0].replace('_', '-')} has no effect without --model.", "Name the model whose tokens count."
        )


def _request(rendering: dict[str, Any], **values: Any) -> DataRequest:
    from quickalign.data.prepare import DataRequest

    given = {name: value for name, value in rendering.items() if value is not None}
    defaults = {name: getattr(_DEFAULTS, name) for name in rendering}
    return DataRequest(**defaults | given | values)


def _check(request: DataRequest, model: str | None, revision: str | None, *, quiet: bool) -> DataReport:
    from quickalign.cli.watch.events import NoProgress
    from quickalign.cli.watch.observer import best_progress
    from quickalign.data.prepare import check as check_data

    console = screen()
    tokenizer, context = None, None
    progress = NoProgress() if quiet else best_progress(console)
    try:
        if model is not None:
            with messages().status(f"Loading the tokenizer of {model}"):
                tokenizer, context = _about(model, revision)
        advance = progress.advance
        return check_data(request, tokenizer, lambda done, total: advance("checking", done, total), context=context)
    finally:
        progress.close()


def _about(model: str, revision: str | None) -> tuple[Any, int]:
    """The model's tokenizer, and its context in tokens."""
    from quickalign.data.tokenizer import load_tokenizer
    from quickalign.hub.shape import read_shape
    from quickalign.hub.source import resolve

    path = resolve(model, revision).path
    return load_tokenizer(path), read_shape(path).context_length


def _show(report: DataReport, html: Path | None, *, as_json: bool) -> None:
    if html is not None:
        from quickalign.data.report_html import render

        atomic.write_text(html, render(report))
    if as_json:
        write_json(report)
        return
    from quickalign.cli.draw import data_report as data_view

    console = screen()
    console.print(data_view.full(report, marks=console.no_color or not console.is_terminal), crop=False)
    if html is not None:
        console.print(f"\nWritten to {html}", soft_wrap=True, markup=False)
