"""Who won a comparison, on one screen."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from quickalign.cli.draw import parts
from quickalign.cli.words import share
from quickalign.evaluate.compare.contest import Contest
from quickalign.evaluate.compare.page import HTML_FILE
from quickalign.evaluate.compare.result import Comparison


def comparison_view(found: Comparison) -> Group:
    """The closing view of a comparison."""
    blocks: list[RenderableType] = [parts.heading("Done"), parts.indented(_table(found)), ""]
    blocks += [parts.indented(parts.plain(_of_judge(one), "quiet")) for one in found.contests if one.judge]
    return Group(*blocks, parts.facts(_files(found)))


def _table(found: Comparison) -> Table:
    title = f"{len(found.prompts):,} prompts"
    table = parts.table(title, "against", "by", "win rate", "interval", "won", "tied", "lost", right=range(3, 8))
    for one in found.contests:
        rate = one.win_rate
        table.add_row(
            parts.plain(one.second),
            parts.plain(one.first),
            one.by,
            Text(share(rate.value) if rate else "–", style="value"),
            f"{share(rate.low)} to {share(rate.high)}" if rate else "nobody voted",
            str(one.test.wins),
            str(one.test.ties),
            str(one.test.losses),
        )
    return table


def _of_judge(one: Contest) -> str:
    facts = one.judge
    assert facts is not None
    cost = f", cost {facts.cost:.4g}" if facts.cost else ""
    return (
        f"The judge of {one.second}: the same verdict in both orders for {share(facts.agreement)}, "
        f"{facts.unclear} replies without one; {facts.prompt_tokens + facts.reply_tokens:,} tokens{cost}."
    )


def _files(found: Comparison) -> Iterator[tuple[str, RenderableType]]:
    yield "answers", Text(str(found.spec.output / HTML_FILE), style="path")
