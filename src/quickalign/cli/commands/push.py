"""`quickalign push`: an exported folder copied to a storage URI or to a model repository."""

# ruff: noqa: PLC0415 - what takes long to import is imported by the command that needs it

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from quickalign.cli import arguments as take
from quickalign.cli.draw import parts
from quickalign.cli.terminal import messages, screen, write_json
from quickalign.cli.words import count, size


def push(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder that `quickalign export` made.")],
    uri: Annotated[
        str, typer.Argument(metavar="URI", help="Where it goes: a local path, s3://, oss://, or hf://owner/name.")
    ],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be sent, and send nothing.")] = False,
    private: Annotated[
        bool, typer.Option("--private", help="For hf://: make the repository a private one. The token is HF_TOKEN.")
    ] = False,
    json: take.AsJson = False,
) -> None:
    """Copy an exported FOLDER to URI. What is there already is not sent again, so the same command goes on.

    quickalign push my-model s3://models/my-model --dry-run

    quickalign push my-model hf://me/my-model --private
    """
    from quickalign.export import push as sending

    sending.demand_effect(uri, private=private)
    if dry_run:
        sent = sending.plan(folder, uri)
    else:
        with messages().status(f"Sending to {uri}", spinner="dots"):
            sent = sending.push(folder, uri, private=private)
    if json:
        write_json([asdict(one) for one in sent])
        return
    table = parts.table("file", "size", "", right=[1])
    for one in sent:
        table.add_row(one.name, size(one.bytes), _word(one.needed, dry_run=dry_run))
    total = sum(one.bytes for one in sent if one.needed)
    number = count(sum(one.needed for one in sent), "file")
    screen().print(table, parts.plain(f"\n{number}, {size(total)} {'to send' if dry_run else 'sent'} to {uri}"))


def _word(needed: bool, *, dry_run: bool) -> str:
    if not needed:
        return "there already"
    return "would be sent" if dry_run else "sent"
