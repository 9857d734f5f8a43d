"""What commands that talk to the server share: finding it, with a sign of life, and asking before deleting."""

# ruff: noqa: PLC0415 - the SDK is imported by the commands that need it

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from quickalign.cli.terminal import messages
from quickalign.core.errors import OptionError

if TYPE_CHECKING:
    from quickalign.sdk.session import Session


def connect() -> Session:
    """A session with the server named by the environment, else with that of the home, started where it has to be.

    Raises:
        QuickalignError: there is none and none can be started.
    """
    with messages().status("Looking for the server", spinner="dots"):
        from quickalign.sdk.session import Session

        session = Session()
        session.client  # noqa: B018 - connects now, while the sign of life shows
    return session


def confirm(question: str) -> None:
    """Go on only with a yes; where nobody can be asked, the option has to say it.

    Raises:
        OptionError: nobody can be asked.
    """
    if not sys.stdin.isatty():
        raise OptionError("Nobody can be asked here whether to delete.", "Add --yes.")
    typer.confirm(question, abort=True, err=True)
