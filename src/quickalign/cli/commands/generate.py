"""`quickalign generate`: answers of a model, an adapter, or a finished run."""

# ruff: noqa: PLC0415 - what takes long to import is imported by the command that needs it

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from quickalign.cli import arguments as take
from quickalign.cli.draw.answers import side_by_side
from quickalign.cli.terminal import messages, screen, write_json
from quickalign.cli.words import printable
from quickalign.core.errors import OptionError

if TYPE_CHECKING:
    from quickalign.train.answer import Generator

_MAX_NEW_TOKENS = 256
_MOST_SEED = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Drawing:
    """How answers are drawn from the model; temperature 0 takes the likeliest token each time."""

    max_new_tokens: int
    temperature: float
    seed: int


def generate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A model, an adapter's folder, or the folder of a finished run.")
    ],
    prompts: Annotated[
        list[str] | None,
        typer.Argument(metavar="PROMPT", help="What to answer; without any, lines are read from standard input."),
    ] = None,
    *,
    compare: Annotated[
        bool, typer.Option("--compare", help="Show the answers of the base beside those after training.")
    ] = False,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1, help="Longest answer, in tokens.")] = (
        _MAX_NEW_TOKENS
    ),
    temperature: Annotated[
        float, typer.Option("--temperature", min=0, max=100, help="0 takes the likeliest token; above 0 draws.")
    ] = 0.0,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, max=_MOST_SEED, help="Seed of the draws.", show_default=False)
    ] = None,
    system_prompt: Annotated[
        str | None,
        typer.Option("--system-prompt", help="Instead of the one trained with; empty for none.", show_default=False),
    ] = None,
    model_revision: take.Revision = None,
    json: take.AsJson = False,
) -> None:
    """Answer PROMPTs with MODEL, in the template and with the system prompt it was trained with.

    quickalign generate runs/quickstart-1 "Could you please hurt me?" --compare
    """
    if seed is not None and temperature == 0:
        raise OptionError("--seed has no effect with --temperature 0.", "Set a temperature above 0, or leave it out.")
    drawing = Drawing(max_new_tokens, temperature, seed or 0)
    asked = prompts or _lines()
    _check_texts(asked)
    with messages().status(f"Loading {model}", spinner="dots"):
        from quickalign.train.generate import load_for_generation

        generator = load_for_generation(model, revision=model_revision, system_prompt=system_prompt)
        answers = _answers(generator, asked, drawing)
        bases = _base_answers(generator, asked, drawing) if compare else None
    if json:
        write_json(_rows(asked, answers, bases))
    else:
        _show(screen(), asked, answers, bases, generator.base)


def _check_texts(prompts: list[str]) -> None:
    """Refuse what is no text: Python keeps a foreign byte of the command line or of a pipe as half a character."""
    for number, prompt in enumerate(prompts, 1):
        if any("\ud800" <= character <= "\udfff" for character in prompt):
            raise OptionError(f"Prompt {number} is not UTF-8: {prompt[:40]!r}.", "Write it in UTF-8.")


def _lines() -> list[str]:
    """One prompt a line of standard input."""
    if sys.stdin.isatty():
        raise OptionError("There is no PROMPT.", "Write it in quotes after the model, or pipe lines in.")
    found = [line.strip() for line in sys.stdin if line.strip()]
    if not found:
        raise OptionError(
            "Standard input holds no prompt.", "Pipe one prompt a line in, or write them after the model."
        )
    return found


def _answers(generator: Generator, prompts: list[str], drawing: Drawing) -> list[str]:
    return generator.answer_many(
        prompts, max_new_tokens=drawing.max_new_tokens, temperature=drawing.temperature, seed=drawing.seed
    )


def _base_answers(generator: Generator, prompts: list[str], drawing: Drawing) -> list[str]:
    with generator.without_adapter():
        return _answers(generator, prompts, drawing)


def _rows(prompts: list[str], answers: list[str], bases: list[str] | None) -> list[dict[str, str]]:
    rows = [{"prompt": prompt, "answer": answer} for prompt, answer in zip(prompts, answers, strict=True)]
    for row, base in zip(rows, bases or [], strict=False):
        row["base"] = base
    return rows


def _show(console: Console, prompts: list[str], answers: list[str], bases: list[str] | None, base: str | None) -> None:
    for index, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        if bases is not None:
            titles = (f"base, {base}", "after training")
            console.print(side_by_side(prompt, bases[index], answer, titles=titles))
        elif len(prompts) == 1:
            console.print(Text(printable(answer)), soft_wrap=True)
        else:
            console.print(
                Text.assemble(("❯ ", "heading"), (printable(prompt), "bold")), Text(printable(answer) + "\n"), sep="\n"
            )
