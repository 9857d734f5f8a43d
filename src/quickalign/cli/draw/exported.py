"""What an export gave, on one screen."""

import shlex
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from quickalign.cli.draw import parts
from quickalign.cli.words import share, size
from quickalign.export.gguf.writer import NAME as GGUF_FILE
from quickalign.export.parity import Parity, Side
from quickalign.export.record import Exported

_DIGITS = 16


def exported_view(found: Exported) -> Group:
    """The closing view of an export."""
    return Group(
        parts.heading("Done" if found.made else "There already"),
        parts.indented(_table(found.parity)),
        "",
        parts.facts(_facts(found)),
        "",
        Text("  Serve it:", style="label"),
        parts.Command(_serving(found)),
    )


def _serving(found: Exported) -> str:
    if found.form.startswith("GGUF"):
        return f"llama-server --jinja --model {shlex.quote(str(found.folder / GGUF_FILE))}"
    return f"python -m quickalign.serve --model {shlex.quote(str(found.folder))}"


def _table(parity: Parity) -> Table:
    table = parts.table(f"{parity.rows:,} rows", "trained", "exported", right=[1, 2])
    before, after = parity.before, parity.after
    table.add_row("weights", size(before.bytes), size(after.bytes))
    table.add_row("greedy tokens a second", _speed(before), _speed(after))
    table.add_row("perplexity", f"{before.perplexity:.3f}", f"{after.perplexity:.3f}")
    if before.likelihood_accuracy is not None and after.likelihood_accuracy is not None:
        table.add_row("chosen likelier", share(before.likelihood_accuracy), share(after.likelihood_accuracy))
    if parity.equal_tokens is not None:
        table.add_row("same greedy tokens", "", share(parity.equal_tokens))
    return table


def _speed(side: Side) -> str:
    return "–" if side.tokens_per_second is None else f"{side.tokens_per_second:.0f}"


def _facts(found: Exported) -> Iterator[tuple[str, RenderableType]]:
    parity = found.parity
    yield (
        "parity",
        f"log-probs differ by at most {parity.largest_difference:.3g} nats, {parity.largest_per_token:.3g} per token "
        f"(limit {parity.limit:g})",
    )
    yield "folder", Text.assemble((str(found.folder), "path"), f"  sha256 {found.weights_sha256[:_DIGITS]}")
    yield "size", Text.assemble(size(found.bytes), f"  {found.form}" if found.form else "")
