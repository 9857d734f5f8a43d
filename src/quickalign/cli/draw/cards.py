"""Model cards: the list, and one in full."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from quickalign.cli.draw import parts
from quickalign.cli.words import count, parameters
from quickalign.core.hyperparameters import Hyperparameters, Method
from quickalign.hub.cards import ModelCard

_LORA = Hyperparameters().lora_dim
_SHOWN: tuple[Method, ...] = ("qlora-4bit", "lora", "full")


def cards_view(cards: Sequence[ModelCard], *, searched: str | None) -> RenderableType:
    """All cards, a line each."""
    if not cards:
        return Text(f"No model card matches {searched!r}. `quickalign models list` shows them all.")
    table = parts.table("model", "size", "context", "4-bit", "LoRA", "full", "licence", right=range(1, 6))
    table.padding = (0, 1, 0, 0)
    for column in table.columns[:-1]:
        column.no_wrap = True
    for card, following in zip(cards, [*cards[1:], None], strict=True):
        needs = [f"{card.needs[method]:,.0f}" if method in card.needs else "–" for method in _SHOWN]
        name = Text(card.name, style="value" if card.embedded else "")
        last = following is None or following.family != card.family
        context = f"{card.context_length / 1024:,.0f}k"
        table.add_row(name, parameters(card.parameters), context, *needs, _licence(card), end_section=last)
    legend = (
        f"{count(len(cards), 'model')}. Columns 4-bit, LoRA and full: GPU memory needed in GB at the default options."
    )
    if any(card.license.needs_acceptance for card in cards):
        legend += " * Accept the licence at its publisher first."
    return Group(table, "", Text(legend, style="quiet"))


def card_view(card: ModelCard) -> Group:
    """One card in full."""
    blocks: list[RenderableType] = [parts.heading(card.title, card.name), parts.facts(_facts(card)), ""]
    blocks += [parts.indented(_needs(card)), ""]
    command = parts.Command(f"quickalign train {card.name} DATA --training-strategy dpo")
    blocks += [Text("  Train it:", style="label"), command]
    return Group(*blocks)


def _licence(card: ModelCard) -> str:
    short = card.license.name.removesuffix(" License").removesuffix(" Community")
    return short + (" *" if card.license.needs_acceptance else "")


def _facts(card: ModelCard) -> Iterator[tuple[str, RenderableType]]:
    yield "provider", card.provider
    yield "parameters", f"{parameters(card.parameters)}, {count(card.parameters)}"
    acceptance = "; accept it at its publisher first" if card.license.needs_acceptance else ""
    yield "licence", f"{card.license.name}{acceptance}"
    yield "context", count(card.context_length, "token")
    yield "template", card.chat_template or "none, this is a base model"
    yield "languages", ", ".join(card.languages)
    yield "strategies", ", ".join(card.strategies)
    if card.embedded:
        yield "weights", "part of this installation"
    if card.huggingface:
        yield "Hugging Face", f"{card.huggingface} at {card.revision}"
    if card.modelscope:
        yield "ModelScope", f"{card.modelscope} at {card.modelscope_revision}"
    if card.mission_gpu:
        yield "GPU", card.mission_gpu


def _needs(card: ModelCard) -> Table:
    table = parts.table("method", "GPU memory", "", right=[1])
    about = {
        "full": "all weights are trained",
        "lora": f"adapters of rank {_LORA} on a 16-bit base",
        "qlora-8bit": "adapters on an 8-bit base",
        "qlora-4bit": "adapters on a 4-bit base, the default",
    }
    for method in card.methods:
        table.add_row(method, f"{card.needs[method]:,.1f} GB", Text(about[method], style="quiet"))
    return table
