"""Answers side by side, as before and after training."""

from rich.box import Box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from quickalign.cli.draw import parts

# only the line between the two columns
_DIVIDED = Box("    \n  │ \n    \n  │ \n    \n    \n  │ \n    \n")


def side_by_side(
    prompt: str, left: str, right: str, *, titles: tuple[str, str] = ("before", "after"), remark: Text | None = None
) -> Group:
    """One prompt with two answers, and a `remark` below them."""
    table = Table(box=_DIVIDED, show_header=False, show_edge=False, expand=True, border_style="quiet", padding=(0, 1))
    for _ in titles:
        table.add_column(ratio=1, overflow="fold")
    changed = left.strip() != right.strip()
    table.add_row(_answer(titles[0], left, ""), _answer(titles[1], right, "good" if changed else ""))
    blocks: list[RenderableType] = [Text.assemble(("❯ ", "heading"), parts.plain(prompt, "bold")), parts.within(table)]
    if remark:
        blocks.append(parts.indented(remark))
    return Group("", *blocks)


def _answer(title: str, text: str, style: str) -> Text:
    shown = parts.plain(text, style) if text.strip() else Text("(empty)", style="caution")
    return Text.assemble((title, "label"), "\n", shown)
