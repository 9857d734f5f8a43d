"""The engines as a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import RenderableType

from quickalign.cli.draw import parts
from quickalign.core import extras

_HOW = {"openvino": extras.command("openvino"), "vllm": "quickalign engines install vllm"}


def engines_view(engines: Sequence[Mapping[str, Any]]) -> RenderableType:
    """All engines; the default one is marked, and of those that are not there it says how they come."""
    table = parts.table("engine", "installed", "version", "")
    for engine in engines:
        hint = "the default here" if engine["default"] else "" if engine["installed"] else _HOW[engine["engine"]]
        table.add_row(
            parts.plain(engine["engine"]),
            parts.plain("yes" if engine["installed"] else "no"),
            parts.plain(engine["version"] or "–"),
            parts.plain(hint),
        )
    return table
