"""What a job found that does not train: the figures of an evaluation, or the parity of an export."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from quickalign.cli.draw import parts
from quickalign.cli.draw.exported import exported_view
from quickalign.cli.words import printable
from quickalign.core.wire.jobs import Job
from quickalign.export.parity import Parity
from quickalign.export.record import Exported


def task_view(job: Job) -> Group:
    """The closing view of such a job, from its record alone."""
    found = job.results or {}
    if job.kind == "export" and "parity" in found:
        return exported_view(exported_of(job))
    table = parts.table("figure", "base", "model", right=[1, 2])
    base: dict[str, Any] = found.get("base", {})
    for name, value in found.get("figures", {}).items():
        table.add_row(name, _number(base.get(name)), Text(_number(value), style="value"))
    return Group(parts.heading("Done"), parts.indented(table), "", parts.facts(_facts(job)))


def exported_of(job: Job) -> Exported:
    """What a finished export has made, as its record says."""
    found = job.results or {}
    folder = job.output if job.output and "://" not in job.output else job.model_path
    parity = Parity.model_validate(found["parity"])
    form = str(found.get("form", ""))
    return Exported(Path(folder or ""), parity, int(found["bytes"]), job.adapter_sha256 or "", form, made=True)


def _facts(job: Job) -> Iterator[tuple[str, RenderableType]]:
    found = job.results or {}
    for name in ("failed_checks", "missed_limits"):
        if found.get(name):
            yield name.replace("_", " "), ", ".join(found[name])
    if job.output:
        yield "copied to", Text(printable(job.output), style="path")
    yield "job", job.id


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
