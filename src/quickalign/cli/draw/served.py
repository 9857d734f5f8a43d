"""The tuned model as a service: where it answers, what it said, and how to talk to it and to delete it."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from quickalign.cli.draw import parts
from quickalign.cli.draw.services import shown_revision
from quickalign.cli.served import IDLE_STOP_SECONDS, Served
from quickalign.cli.words import duration


def served_view(served: Served, trained_answer: str) -> Group:
    """The service of the quickstart; its first answer is compared with the one that training drew."""
    blocks: list[RenderableType] = ["", parts.heading("Deployed", "asked through the openai client")]
    for index, (question, answer) in enumerate(served.answers):
        blocks += [Text.assemble(("❯ ", "heading"), parts.plain(question, "bold")), parts.indented(parts.plain(answer))]
        if index == 0:
            blocks.append(parts.indented(_compared(answer, trained_answer)))
        blocks.append("")
    blocks += [
        parts.facts(_facts(served)),
        "",
        parts.heading("Talk to it"),
        parts.Command(f"quickalign chat {served.name}"),
        "",
        parts.heading("Delete it", f"it stops by itself after {duration(IDLE_STOP_SECONDS)} without a request"),
        parts.Command(f"quickalign services delete {served.name}"),
    ]
    return Group(*blocks)


def _compared(answer: str, trained: str) -> Text:
    if answer == trained:
        return Text("✓ word for word what training's own answer was", style="good")
    return Text("– not word for word what training's own answer was", style="caution")


def _facts(served: Served) -> Iterator[tuple[str, RenderableType]]:
    revision = shown_revision(served.service)
    yield "endpoint", Text(served.endpoint + served.service.path, style="path")
    yield "chat page", Text(served.endpoint + served.service.path.removesuffix("v1"), style="path")
    yield "engine", f"{revision.engine} {revision.precision}"
    passed = sum(check.passed for check in revision.proof)
    yield "proof", f"{passed} of {len(revision.proof)} checks passed: served as trained"
