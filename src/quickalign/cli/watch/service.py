"""Waiting for a service as people watch it: its state and the reason, until it is as wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from quickalign.cli.terminal import messages
from quickalign.cli.watch.observer import best_progress
from quickalign.cli.words import one_line, printable
from quickalign.core.errors import Interrupted
from quickalign.sdk.service_wait import Condition, Teller, standing, wait_until

if TYPE_CHECKING:
    from quickalign.core.wire.services import Service
    from quickalign.sdk.session import Session

_SHOWN = 70
"""Longest text beside the bar that moves."""


def watch_service(session: Session, service: Service, holds: Condition) -> Service:
    """Show on standard error how a service stands until the condition holds; returns how it stands then.

    Raises:
        QuickalignError: it can no longer hold. Interrupted: the user stopped the watching.
    """
    view = ServiceView(messages())
    try:
        return wait_until(session.services, service, holds, show=view)
    except KeyboardInterrupt:
        raise Interrupted(
            f"Stopped watching; service {service.name} goes on.",
            f"`quickalign services show {service.name}` shows it, `quickalign services delete {service.name}` ends it.",
        ) from None
    finally:
        view.close()


class ServiceView:
    """Shows how a service stands: beside a moving bar where a terminal can draw one, else as a line a change."""

    def __init__(self, console: Console) -> None:
        self._progress = best_progress(console)
        self._moves = console.is_terminal and not console.is_dumb_terminal
        self._teller = Teller(
            lambda line: console.print(Text.assemble(("● ", "heading"), printable(line)), soft_wrap=True)
        )

    def __call__(self, service: Service) -> None:
        """See `service_wait.Show`."""
        if self._moves:
            self._progress.waiting(one_line(printable(f"{service.name}: {standing(service)}"), _SHOWN))
        else:
            self._teller(service)

    def close(self) -> None:
        """Take the bar away."""
        self._progress.close()
