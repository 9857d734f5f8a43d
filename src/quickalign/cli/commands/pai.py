"""`quickalign pai`: scripts written for Alibaba Cloud's PAI, run against the server of this home."""

# ruff: noqa: PLC0415 - what takes long to import is imported by the command that needs it

from __future__ import annotations

import os
import shlex
import shutil
import time
from pathlib import Path
from typing import Annotated

import typer

from quickalign.cli import arguments as take
from quickalign.cli.connect import confirm, connect
from quickalign.cli.help import HelpfulCommand, HelpfulGroup
from quickalign.cli.terminal import screen, write_json
from quickalign.core.errors import OptionError

app = typer.Typer(cls=HelpfulGroup, no_args_is_help=True)
credentials = typer.Typer(cls=HelpfulGroup, no_args_is_help=True)
app.add_typer(credentials, name="credentials")


@app.callback()
def group() -> None:
    """Run scripts written for PAI's own package (`alipai`) against your server, without changing a line."""


# options that are not this command's are the script's
@app.command(cls=HelpfulCommand, context_settings={"ignore_unknown_options": True})
def run(
    script: Annotated[Path, typer.Argument(metavar="SCRIPT", help="The script.", exists=True, dir_okay=False)],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="ARGUMENT", help="What the script is given, its options too.")
    ] = None,
    *,
    python: Annotated[
        str, typer.Option("--python", help="The interpreter whose environment has alipai installed.")
    ] = "python",
) -> None:
    """Run a script with PAI's stock client, sent to the server of this home; ends with the script's own exit code."""
    found = shutil.which(python)
    if found is None:
        raise OptionError(f"There is no program {python!r}.", "Name an interpreter with --python.")
    from quickalign.sdk.stock.environment import environment

    variables = environment(connect())
    os.execve(found, [found, str(script), *(arguments or ())], os.environ | variables)  # noqa: S606 - no shell


@app.command(cls=HelpfulCommand)
def env(*, json: take.AsJson = False) -> None:
    """Print the variables that send a stock client here: `eval "$(quickalign pai env)"`. They hold a secret."""
    from quickalign.sdk.stock.environment import environment

    variables = environment(connect())
    if json:
        write_json(variables)
        return
    for name, value in variables.items():
        screen().print(f"export {name}={shlex.quote(value)}", soft_wrap=True, markup=False, highlight=False)


@credentials.callback()
def credentials_group() -> None:
    """Access keys with which clients of PAI and OSS sign what they send."""


@credentials.command(cls=HelpfulCommand)
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name for people.")] = "pai",
    *,
    json: take.AsJson = False,
) -> None:
    """Make an access key; its secret is shown this once."""
    from quickalign.sdk.stock.calls import AccessKeys

    made = AccessKeys(connect().client).create(name)
    if json:
        write_json(made)
        return
    for key, value in made.model_dump().items():
        screen().print(f"{key:18} {value}", soft_wrap=True, markup=False, highlight=False)


@credentials.command("list", cls=HelpfulCommand)
def list_keys(*, json: take.AsJson = False) -> None:
    """List access keys."""
    from quickalign.sdk.stock.calls import AccessKeys

    found = AccessKeys(connect().client).list()
    if json:
        write_json(found)
        return
    for key in found:
        state = f"revoked {_when(key.revoked_at)}" if key.revoked_at else f"since {_when(key.created_at)}"
        screen().print(f"{key.id}  {key.name}  {state}", soft_wrap=True, markup=False, highlight=False)


@credentials.command(cls=HelpfulCommand)
def revoke(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key's id.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Refuse from now on what is signed with a key."""
    from quickalign.sdk.stock.calls import AccessKeys

    if not yes:
        confirm(f"Revoke {key}?")
    AccessKeys(connect().client).revoke(key)


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
