"""`quickalign chat`: talk with a service on the terminal, or with two side by side."""

# ruff: noqa: PLC0415 - what takes long to import is imported by the command that needs it

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from quickalign.cli import arguments as take
from quickalign.cli.connect import connect
from quickalign.cli.terminal import messages, write_json
from quickalign.core.errors import OptionError

if TYPE_CHECKING:
    from quickalign.cli.conversation import Conversation


def chat(
    service: Annotated[
        str | None, typer.Argument(metavar="SERVICE", help="The service's name; left out with --compare.")
    ] = None,
    prompts: Annotated[
        list[str] | None,
        typer.Argument(metavar="PROMPT", help="Ask this and end; without any, questions are read from the terminal."),
    ] = None,
    *,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option("--compare", metavar="A B", help="Ask two services, and show answers beside each other."),
    ] = None,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0, max=2, help="0 takes the likeliest token; above 0 draws.")
    ] = 0.0,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", min=1, help="Longest answer, in tokens.", show_default=False)
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Seed of the draws.", show_default=False)] = None,
    system_prompt: Annotated[
        str | None,
        typer.Option("--system-prompt", help="Instead of the service's own.", show_default=False),
    ] = None,
    json: take.AsJson = False,
) -> None:
    """Talk with a service; answers come as they are written.

    quickalign chat first

    quickalign chat --compare first second "Could you please hurt me?"

    In a conversation, /new begins another one, and /quit or Ctrl-D ends it; Ctrl-C stops an answer.
    """
    if seed is not None and temperature == 0:
        raise OptionError("--seed has no effect with --temperature 0.", "Set a temperature above 0, or leave it out.")
    names, asked = _who(service, prompts, compare)
    if not asked and not sys.stdin.isatty():
        asked = [line.strip() for line in sys.stdin if line.strip()]
        if not asked:
            raise OptionError("Standard input holds no prompt.", "Pipe one a line in, or write them after the service.")
    if json and not asked:
        raise OptionError("--json needs a PROMPT.", "Write it after the service, or pipe one a line in.")
    partners = _partners(names, temperature, max_tokens, seed, system_prompt)
    if json:
        write_json([_row(partners, text) for text in asked])
        return
    from quickalign.cli import talk

    if asked:
        talk.answer_each(partners, asked)
    else:
        talk.converse(partners)


def _who(
    service: str | None, prompts: list[str] | None, compare: tuple[str, str] | None
) -> tuple[tuple[str, ...], list[str]]:
    """The services, and the questions; with --compare the first word is a question already."""
    rest = list(prompts or ())
    if compare is not None:
        return compare, [*([service] if service is not None else []), *rest]
    if service is None:
        raise OptionError("There is no SERVICE.", "`quickalign services list` shows them.")
    return (service,), rest


def _partners(
    names: tuple[str, ...], temperature: float, max_tokens: int | None, seed: int | None, system_prompt: str | None
) -> list[Conversation]:
    session = connect()
    with messages().status("Looking for the service", spinner="dots"):
        from quickalign.cli.conversation import Asking, Conversation
        from quickalign.sdk.predictor import Predictor

        asking = Asking(temperature, max_tokens, seed, system_prompt)
        return [Conversation(Predictor(name, session=session), asking) for name in names]


def _row(partners: list[Conversation], text: str) -> dict[str, str]:
    """One question with its answers, each in a conversation of its own."""
    row = {"prompt": text}
    for partner in partners:
        partner.restart()
        row["answer" if len(partners) == 1 else partner.name] = "".join(partner.ask(text))
    return row
