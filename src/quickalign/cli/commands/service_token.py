"""`quickalign services token`: what opens a service."""

# ruff: noqa: PLC0415 - what takes long to import is imported by the command that needs it

from __future__ import annotations

import sys
from typing import Annotated

import typer

from quickalign.cli import arguments as take
from quickalign.cli import service_options as serve
from quickalign.cli.connect import connect
from quickalign.cli.terminal import screen, write_json
from quickalign.core.errors import OptionError


def token(
    name: serve.Name,
    *,
    rotate: Annotated[
        bool, typer.Option("--rotate", help="Make a new one; the old one opens nothing at once.")
    ] = False,
    new: Annotated[
        str | None,
        typer.Option(
            "--new", metavar="LABEL", help="Make a further token with a name, shown once.", show_default=False
        ),
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the tokens with names.")] = False,
    revoke: Annotated[
        str | None,
        typer.Option("--revoke", metavar="ID", help="End a token with a name, by its id.", show_default=False),
    ] = None,
    json: take.AsJson = False,
) -> None:
    """Show the token that opens this service and nothing else.

    quickalign services token first
    """
    asked = {"--rotate": rotate, "--new": new is not None, "--list": listed, "--revoke": revoke is not None}
    if len(given := [option for option, is_given in asked.items() if is_given]) > 1:
        raise OptionError(f"{given[0]} and {given[1]} exclude each other.", "Give one of them.")
    services = connect().services
    if listed:
        found = services.tokens(name)
        if json:
            write_json(found)
            return
        from quickalign.cli.draw.services import tokens_view

        screen().print(tokens_view(name, found))
    elif revoke is not None:
        services.revoke_token(name, revoke)
        write_json({"revoked": revoke}) if json else screen().print(f"Revoked {revoke}.", markup=False)
    elif new is not None:
        made = services.create_token(name, new)
        _write(made.token, made.id, as_json=json)
    else:
        _write(services.rotate_token(name) if rotate else services.token(name), None, as_json=json)


def _write(secret: str, identity: str | None, *, as_json: bool) -> None:
    """The token alone on its line, so that a script can take it."""
    if as_json:
        write_json({"token": secret, "id": identity})
    else:
        sys.stdout.write(secret + "\n")
