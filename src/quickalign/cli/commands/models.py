"""`quickalign models`: what can be trained, and what it needs."""

# ruff: noqa: PLC0415 - what takes long to import is imported by the command that needs it

from __future__ import annotations

from typing import Annotated, Any

import typer

from quickalign.cli import arguments as take
from quickalign.cli.help import HelpfulCommand, HelpfulGroup
from quickalign.cli.terminal import screen, write_json

app = typer.Typer(cls=HelpfulGroup, no_args_is_help=True)


@app.callback()
def group() -> None:
    """Look at the models that are known by name; any local folder in Hugging Face layout works as well."""


@app.command("list", cls=HelpfulCommand)
def list_models(
    *,
    search: Annotated[
        str | None, typer.Option("--search", help="Only models with these words in name, title, family or provider.")
    ] = None,
    json: take.AsJson = False,
) -> None:
    """List all model cards."""
    from quickalign.cli.draw.cards import cards_view
    from quickalign.hub.cards import cards

    words = (search or "").lower().split()
    found = [card for card in cards() if all(word in _searched(card) for word in words)]
    if json:
        write_json([_plain(card) for card in found])
    else:
        screen().print(cards_view(found, searched=search))


@app.command(cls=HelpfulCommand)
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A card's name, a Hugging Face or a ModelScope id.")],
    *,
    json: take.AsJson = False,
) -> None:
    """Show one model card: licence, context, methods, the memory they need, and where weights come from."""
    from quickalign.cli.draw.cards import card_view
    from quickalign.hub.cards import find_card

    card = find_card(name)
    if json:
        write_json(_plain(card))
    else:
        screen().print(card_view(card))


def _searched(card: Any) -> str:
    return " ".join((*card.names, card.title, card.family, card.provider)).lower()


def _plain(card: Any) -> dict[str, Any]:
    """The card as JSON, with the memory it needs, which is computed."""
    return {**card.model_dump(mode="json"), "needs": dict(card.needs)}
