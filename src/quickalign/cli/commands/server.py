"""`quickalign server`: the server of this home."""

# ruff: noqa: PLC0415 - what takes long to import is imported by the command that needs it

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from quickalign.cli import arguments as take
from quickalign.cli.help import HelpfulCommand, HelpfulGroup
from quickalign.cli.terminal import messages, screen, write_json
from quickalign.core import paths
from quickalign.core.errors import ConflictError, UnavailableError

Host = Annotated[
    str | None, typer.Option("--host", help="Listen at this address instead of the configured one.", show_default=False)
]
Port = Annotated[int | None, typer.Option("--port", min=0, max=65535, help="Listen at this port; 0 takes a free one.")]
Database = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        help=f"A PostgreSQL database instead of the home's SQLite; {paths.DATABASE_VARIABLE} in the environment is the "
        "same, and nobody sees a password in it.",
        show_default=False,
    ),
]
Insecure = Annotated[
    bool, typer.Option("--insecure-http", help="Listen for other machines without TLS, whoever may be listening in.")
]

app = typer.Typer(cls=HelpfulGroup, no_args_is_help=True)


@app.callback()
def group() -> None:
    """Start, stop and look at the server of this home; other commands start it by themselves."""


@app.command(cls=HelpfulCommand)
def start(
    *,
    host: Host = None,
    port: Port = None,
    database_url: Database = None,
    insecure_http: Insecure = False,
    json: take.AsJson = False,
) -> None:
    """Start the server in the background."""
    from quickalign.sdk import discover

    home = paths.home().absolute()
    arguments = _arguments(host, port, insecure_http)
    if (running := discover.find(home)) and (arguments or database_url is not None):
        raise ConflictError(
            f"The server of {home} runs already, at {running.endpoint}.",
            "`quickalign server stop` first, to start it with other settings.",
        )
    _hand_over(database_url)
    with messages().status("Starting the server", spinner="dots"):
        found = discover.start(home, arguments)
    if json:
        write_json({"running": True, **found.model_dump()})
    else:
        screen().print(f"The server of {home} listens at {found.endpoint} (process {found.pid}).", soft_wrap=True)


@app.command(cls=HelpfulCommand)
def stop(*, json: take.AsJson = False) -> None:
    """Stop the server. Jobs that run go on, and the next server finds them again."""
    from quickalign.sdk import discover

    home = paths.home().absolute()
    with messages().status("Stopping the server", spinner="dots"):
        found = discover.stop(home)
    if json:
        write_json({"stopped": found is not None})
    else:
        said = f"Stopped the server at {found.endpoint}." if found else f"No server runs for {home}."
        screen().print(said, soft_wrap=True)


@app.command(cls=HelpfulCommand)
def status(*, json: take.AsJson = False) -> None:
    """Show where the server listens, its devices, and its queue; exits with 12 where none runs."""
    from quickalign.sdk import discover
    from quickalign.sdk.place import ENDPOINT_VARIABLE
    from quickalign.sdk.session import Session

    home = paths.home().absolute()
    remote = os.environ.get(ENDPOINT_VARIABLE)
    found = None if remote else discover.find(home)
    if not remote and found is None:
        _show_none(str(home), as_json=json)
        raise typer.Exit(UnavailableError.exit_code)
    info = Session().server.info()
    endpoint = remote or (found.endpoint if found else "")
    if json:
        write_json({"running": True, "endpoint": endpoint, "pid": found.pid if found else None, "system": info})
        return
    from quickalign.cli.draw.server import status_view

    screen().print(status_view(endpoint, found.pid if found else None, info))


@app.command(cls=HelpfulCommand)
def run(
    *, host: Host = None, port: Port = None, database_url: Database = None, insecure_http: Insecure = False
) -> None:
    """Run the server here, with its log on this terminal; Ctrl-C stops it."""
    command = [sys.executable, "-m", "quickalign.server", "--home", str(paths.home().absolute())]
    _hand_over(database_url)
    # the same process from here on, so that signals reach the server itself
    os.execv(sys.executable, [*command, *_arguments(host, port, insecure_http)])  # noqa: S606


def _hand_over(database_url: str | None) -> None:
    """Leave the URL to the server that this process starts or becomes, where the process list does not show it."""
    if database_url is not None:
        os.environ[paths.DATABASE_VARIABLE] = database_url


def _arguments(host: str | None, port: int | None, insecure: bool) -> list[str]:
    given = (("--host", host), ("--port", port))
    valued = [part for name, value in given if value is not None for part in (name, str(value))]
    return [*valued, "--insecure-http"] if insecure else valued


def _show_none(home: str, *, as_json: bool) -> None:
    if as_json:
        write_json({"running": False, "home": home})
    else:
        screen().print(f"No server runs for {home}. `quickalign server start` starts it.", soft_wrap=True)
