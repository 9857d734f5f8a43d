"""One row of training data as the model sees it: its tokens, and which of them are scored."""

from collections.abc import Iterable

from rich.console import RenderableType
from rich.text import Text

from quickalign.cli.draw import parts
from quickalign.cli.words import printable
from quickalign.data.report import RowView, TokenView

_STYLES = {
    "prompt": ("dim", "default"),
    "chosen": ("white on #14532d", "white on #15803d"),
    "answer": ("white on #14532d", "white on #15803d"),
    "rejected": ("white on #7f1d1d", "white on #b91c1c"),
}
"""Two shades for each part, in turns, so that token borders show."""


def first_row(row: RowView, *, marks: bool) -> list[RenderableType]:
    """The row's tokens once per answer; grey is read, colour is scored. `marks` draws that without colours."""
    how = "⟨…⟩ is scored, | parts tokens" if marks else "grey is read, colour is scored; shades part tokens"
    blocks: list[RenderableType] = [parts.heading(f"Row {row.row}", how)]
    name = "answer" if row.rejected_tokens is None else "chosen"
    views = [(name, row.tokens)]
    if row.rejected_tokens is not None:
        views.append(("rejected", row.rejected_tokens))
    for label, tokens in views:
        scored = sum(token.part == "answer" for token in tokens)
        first = "the first " if row.hidden else ""
        title = Text.assemble((label, "value"), (f"  {first}{len(tokens):,} tokens, {scored:,} scored", "quiet"))
        blocks += [parts.indented(title), parts.indented(_marked(tokens) if marks else _coloured(tokens, label))]
    if row.hidden:
        blocks.append(parts.indented(Text(f"… {row.hidden:,} more tokens of the longer one", style="quiet")))
    return blocks


def _coloured(tokens: Iterable[TokenView], answer: str) -> Text:
    text = Text()
    for index, token in enumerate(tokens):
        shades = _STYLES[answer if token.part == "answer" else "prompt"]
        for piece in _visible(token.text).splitlines(keepends=True):
            # a coloured line end would colour the rest of the line
            text.append(piece.rstrip("\n"), style=shades[index % 2])
            text.append("\n" if piece.endswith("\n") else "")
    text.rstrip()
    return text


def _marked(tokens: Iterable[TokenView]) -> Text:
    text = Text()
    inside = False
    for token in tokens:
        scored = token.part == "answer"
        text.append(("⟨" if scored else "⟩") if scored != inside else "|" if len(text) else "")
        text.append(_visible(token.text))
        inside = scored
    return text.append("⟩" if inside else "")


def _visible(text: str) -> str:
    """Line ends are shown and kept."""
    return printable(text).replace("\t", "⇥").replace("\n", "↵\n")
