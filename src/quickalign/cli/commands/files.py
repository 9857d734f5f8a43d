"""`quickalign files`: data that was uploaded to the server."""

# ruff: noqa: PLC0415 - what takes long to import is imported by the command that needs it

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from quickalign.cli import arguments as take
from quickalign.cli.connect import confirm, connect
from quickalign.cli.help import HelpfulCommand, HelpfulGroup
from quickalign.cli.terminal import screen, write_json
from quickalign.core.errors import OptionError

FileId = Annotated[str, typer.Argument(metavar="FILE", help="The file's id, as `quickalign files list` shows it.")]

app = typer.Typer(cls=HelpfulGroup, no_args_is_help=True)


@app.callback()
def group() -> None:
    """Upload data to the server, and look at what is there."""


@app.command(cls=HelpfulCommand)
def upload(
    files: Annotated[list[Path], typer.Argument(metavar="PATH", help="Local files.")],
    *,
    purpose: Annotated[
        Literal["fine-tune", "assistants", "batch", "user_data", "evals", "vision"],
        typer.Option("--purpose", help="What they are for, by OpenAI's words."),
    ] = "fine-tune",
    json: take.AsJson = False,
) -> None:
    """Upload files; content that is there already takes no more room."""
    from quickalign.cli.watch.events import NoProgress
    from quickalign.cli.watch.observer import best_progress

    session = connect()
    console = screen()
    progress = NoProgress() if json else best_progress(console)
    stored = []
    for path in files:
        with closing(progress):
            told = partial(progress.advance, f"uploading {path.name}")
            stored.append(session.files.upload(path, purpose=purpose, progress=told))
        if not json:
            console.print(f"{stored[-1].id}  {stored[-1].filename}", soft_wrap=True, markup=False)
    if json:
        write_json(stored)


@app.command("list", cls=HelpfulCommand)
def list_files(
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many, newest first.")] = 20,
    json: take.AsJson = False,
) -> None:
    """List files, newest first."""
    page = connect().files.list(limit=limit)
    if json:
        write_json(page.items)
        return
    from quickalign.cli.draw.files import files_view

    screen().print(files_view(page.items, more=page.next is not None))


@app.command(cls=HelpfulCommand)
def show(file: FileId, *, json: take.AsJson = False) -> None:
    """Show one file's record."""
    found = connect().files.get(file)
    if json:
        write_json(found)
        return
    from quickalign.cli.draw.files import file_view

    screen().print(file_view(found))


@app.command(cls=HelpfulCommand)
def rows(
    file: FileId,
    *,
    offset: Annotated[int, typer.Option("--offset", min=0, help="Begin after so many rows.")] = 0,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Show so many rows.")] = 5,
    json: take.AsJson = False,
) -> None:
    """Show some rows of a file, as they are read."""
    found = connect().files.rows(file, offset=offset, limit=limit)
    if json:
        write_json(found)
        return
    from quickalign.cli.draw.files import rows_view

    screen().print(rows_view(found))


@app.command(cls=HelpfulCommand)
def report(
    file: FileId,
    *,
    model: Annotated[
        str | None, typer.Option("--model", help="Count tokens as this model does.", show_default=False)
    ] = None,
    seq_length: Annotated[
        int | None, typer.Option("--seq-length", min=8, help="Count what this length cuts.", show_default=False)
    ] = None,
    json: take.AsJson = False,
) -> None:
    """Show the data report of a file: format, bad rows, duplicates, lengths, what is cut."""
    if seq_length is not None and model is None:
        raise OptionError("--seq-length has no effect without --model.", "Name the model whose tokens count.")
    found = connect().files.report(file, model=model, seq_length=seq_length)
    if json:
        write_json(found)
        return
    from quickalign.cli.draw import data_report
    from quickalign.data.report import DataReport

    console = screen()
    marks = console.no_color or not console.is_terminal
    console.print(data_report.full(DataReport.model_validate(found), marks=marks), crop=False)


@app.command(cls=HelpfulCommand)
def download(
    file: FileId,
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to; its own name by default.", show_default=False)
    ] = None,
    json: take.AsJson = False,
) -> None:
    """Fetch a file's content. A file that is there already is not replaced."""
    session = connect()
    # the name comes from whoever uploaded it: only its last part may say where this writes
    to = output or Path(Path(session.files.get(file).filename).name or file)
    if to.exists():
        raise OptionError(f"{to} exists already.", "Name another --output.")
    size = session.files.download(file, to)
    if json:
        write_json({"path": str(to), "bytes": size})
    else:
        screen().print(f"{to}  {size:,} bytes", soft_wrap=True, markup=False)


@app.command(cls=HelpfulCommand)
def delete(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Ids of files.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: take.AsJson = False,
) -> None:
    """Delete files. One that a job still reads is refused."""
    session = connect()
    for file in files:  # where one is unknown, all stay
        session.files.get(file)
    if not yes:
        confirm(f"Delete {len(files)} {'file' if len(files) == 1 else 'files'}?")
    for file in files:
        session.files.delete(file)
    if json:
        write_json({"deleted": files})
    else:
        screen().print("\n".join(f"Deleted {file}" for file in files), markup=False)
