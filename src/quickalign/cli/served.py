"""The quickstart's last act: the tuned model is deployed and asked through the stock `openai` client."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from quickalign.cli import demonstration as demo
from quickalign.core.errors import ConflictError, Interrupted, QuickalignError
from quickalign.sdk.predictor import Predictor
from quickalign.sdk.service_request import name_from, resolve_source, service_request
from quickalign.sdk.service_wait import Show, answers, wait_until
from quickalign.sdk.words import random_str

if TYPE_CHECKING:
    from quickalign.core.wire.services import Service
    from quickalign.sdk.session import Session

QUESTIONS = (demo.FIRST_PROMPT, "What is the meaning of life?")
"""What the service is asked; the second is the question of PAI's own example."""

IDLE_STOP_SECONDS = 1800.0
"""A service that nobody asks gives its memory back, and starts again with the next request."""

_LONGEST = 128


@dataclass(frozen=True, slots=True)
class Served:
    """A service of the quickstart, and what it answered to `QUESTIONS`."""

    service: Service
    endpoint: str
    answers: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """The service's name."""
        return self.service.name


def serve(session: Session, run: Path, show: Show) -> Served:
    """Deploy the run's model and ask it. What does not get that far is deleted again.

    Raises:
        QuickalignError: it cannot be deployed or asked. Interrupted: the user stopped it.
    """
    made = _create(session, run)
    try:
        service = wait_until(session.services, made, answers, show=show)
        return Served(service, session.endpoint, _ask(Predictor(made.id, session=session)))
    except KeyboardInterrupt:
        _forget(session, made)
        raise Interrupted(
            f"Stopped; the service {made.name} is deleted again, and the trained model stays in {run}.",
            f"`quickalign deploy {run}` deploys it.",
        ) from None
    except QuickalignError:
        _forget(session, made)
        raise


def _create(session: Session, run: Path) -> Service:
    """A service named after the run's folder, or nearly so where the name is taken."""
    source = resolve_source(session, str(run))
    options = {"idle_stop_seconds": IDLE_STOP_SECONDS}
    name = name_from(run.name)
    try:
        return session.services.create(service_request(name, source, options))
    except ConflictError:
        return session.services.create(service_request(f"{name}-{random_str(4)}", source, options))


def _ask(predictor: Predictor) -> tuple[tuple[str, str], ...]:
    """The answers to `QUESTIONS`, likeliest token by likeliest token as training drew its samples."""
    client = predictor.openai()
    found = []
    for question in QUESTIONS:
        answer = client.chat.completions.create(
            model="default", messages=[{"role": "user", "content": question}], temperature=0, max_tokens=_LONGEST
        )
        found.append((question, answer.choices[0].message.content or ""))
    return tuple(found)


def _forget(session: Session, service: Service) -> None:
    with contextlib.suppress(QuickalignError):
        session.services.delete(service.id)
