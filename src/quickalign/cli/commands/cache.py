"""`quickalign cache`: the reference log-probs that are kept on disk between runs."""

# ruff: noqa: PLC0415 - what takes long to import is imported by the command that needs it

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from quickalign.cli import arguments as take
from quickalign.cli.help import HelpfulCommand, HelpfulGroup
from quickalign.cli.terminal import screen, write_json

app = typer.Typer(cls=HelpfulGroup, no_args_is_help=True)

_MEGABYTE = 1_000_000


@app.callback()
def group() -> None:
    """Look at or empty the cache of reference log-probs, which spares later runs half of dpo's forward passes."""


@app.command(cls=HelpfulCommand)
def show(*, json: take.AsJson = False) -> None:
    """Show what is kept, for which model, and how large it is; damaged records are counted and never used."""
    from quickalign.cli.draw.cache import cache_view
    from quickalign.train.scoring.cache import ReferenceCache

    cache = ReferenceCache()
    entries = cache.stats()
    if json:
        write_json([asdict(entry) for entry in entries])
    else:
        screen().print(cache_view(cache.folder, entries))


@app.command(cls=HelpfulCommand)
def prune(
    *,
    keep: Annotated[
        int,
        typer.Option("--keep", metavar="MB", min=1, help="Megabytes that may stay; least recently used goes first."),
    ],
    json: take.AsJson = False,
) -> None:
    """Shrink the cache; runs that need what is gone compute it again."""
    _remove(keep * _MEGABYTE, as_json=json)


@app.command(cls=HelpfulCommand)
def clear(*, json: take.AsJson = False) -> None:
    """Empty the cache; runs that need what is gone compute it again."""
    _remove(0, as_json=json)


def _remove(keep_bytes: int, *, as_json: bool) -> None:
    from quickalign.cli.words import size
    from quickalign.train.scoring.cache import ReferenceCache

    freed = ReferenceCache().prune(keep_bytes)
    if as_json:
        write_json({"freed_bytes": freed})
    else:
        screen().print(f"Freed {size(freed)}.")
