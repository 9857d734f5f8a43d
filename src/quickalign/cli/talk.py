"""Talking on the terminal: questions are read, answers drawn as they come, two of them side by side."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Sequence

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from quickalign.cli.conversation import Conversation, Listener
from quickalign.cli.draw import parts
from quickalign.cli.draw.answers import side_by_side
from quickalign.cli.failures import report_error
from quickalign.cli.terminal import screen
from quickalign.cli.words import printable
from quickalign.core.errors import QuickalignError

_NEW, _QUIT = "/new", "/quit"
_FRAME_SECONDS = 0.1


def answer_each(partners: Sequence[Conversation], prompts: Sequence[str]) -> None:
    """Answer each prompt in a conversation of its own.

    Raises:
        QuickalignError: a service refuses, or an answer broke off.
    """
    console = screen()
    for prompt in prompts:
        for partner in partners:
            partner.restart()
        if len(partners) == 1 and len(prompts) > 1:
            console.print(Text.assemble(("❯ ", "heading"), (printable(prompt), "bold")))
        _answer(console, partners, prompt)


def converse(partners: Sequence[Conversation]) -> None:
    """Read questions and answer them until the user leaves; an answer that fails does not end the conversation."""
    console = screen()
    names = " and ".join(partner.name for partner in partners)
    console.print(parts.heading(names, f"{_NEW} begins another conversation, {_QUIT} or Ctrl-D ends"))
    with contextlib.suppress(ImportError):
        importlib.import_module("readline")  # gives the question's line editing and a history
    while (text := _question(console)) is not None:
        if text == _NEW:
            for partner in partners:
                partner.restart()
            console.print(Text("A new conversation.", style="quiet"))
        elif text:
            _try_to_answer(console, partners, text)


def _question(console: Console) -> str | None:
    """The next question; None where the user leaves."""
    try:
        text = console.input(Text("❯ ", style="heading")).strip()
    except EOFError:
        console.print()
        return None
    return None if text == _QUIT else text


def _try_to_answer(console: Console, partners: Sequence[Conversation], text: str) -> None:
    try:
        _answer(console, partners, text)
    except KeyboardInterrupt:
        console.print(Text("\n■ stopped", style="caution"))
    except QuickalignError as error:
        report_error(error, as_json=False)


def _answer(console: Console, partners: Sequence[Conversation], text: str) -> None:
    if len(partners) == 1:
        _stream(partners[0], text)
    else:
        _compare(console, partners[0], partners[1], text)


def _stream(partner: Conversation, text: str) -> None:
    """Write the answer as it comes."""
    with contextlib.closing(partner.ask(text)) as pieces:
        for piece in pieces:
            sys.stdout.write(printable(piece))
            sys.stdout.flush()
    sys.stdout.write("\n")
    sys.stdout.flush()


def _compare(console: Console, left: Conversation, right: Conversation, text: str) -> None:
    """Both answers at once: on a terminal as they come, elsewhere when they are whole."""
    listeners = (Listener(left, text), Listener(right, text))
    titles = (left.name, right.name)

    def view() -> RenderableType:
        return side_by_side(text, listeners[0].text, listeners[1].text, titles=titles)

    try:
        if console.is_terminal:
            with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
                while not all(each.finished(_FRAME_SECONDS) for each in listeners):
                    live.update(view(), refresh=True)
                live.update(view(), refresh=True)
        else:
            while not all(each.finished(_FRAME_SECONDS) for each in listeners):
                pass
            console.print(view())
    finally:
        for each in listeners:
            each.stop()
