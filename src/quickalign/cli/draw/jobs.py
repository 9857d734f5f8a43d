"""Jobs of a server: the list, one in full, its events and its figures."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Literal

from rich.console import Group, RenderableType
from rich.text import Text

from quickalign.cli.draw import parts
from quickalign.cli.fields import as_options
from quickalign.cli.words import count, duration, printable, share, size
from quickalign.core.wire.jobs import Checkpoint, Event, Job, JobState

_STYLES = {
    JobState.QUEUED: "label",
    JobState.STARTING: "path",
    JobState.RUNNING: "path",
    JobState.RESUMING: "path",
    JobState.PAUSING: "caution",
    JobState.PAUSED: "caution",
    JobState.CANCELLING: "caution",
    JobState.SUCCEEDED: "good",
    JobState.FAILED: "bad",
    JobState.CANCELLED: "caution",
}
_SIGNS = {"warning": ("!", "bold yellow"), "error": ("✗", "bad"), "state": ("●", "heading")}
_METRICS = {
    "steps": ("step", "loss", "rewards_margin", "rewards_accuracy", "grad_norm", "learning_rate"),
    "evaluations": ("step", "loss", "margin", "accuracy", "rows"),
}
_SHOWN_METRICS = 20
_DAY = 24 * 3600.0


def jobs_view(jobs: Sequence[Job], *, more: bool, filtered: bool) -> RenderableType:
    """Jobs, a line each."""
    if not jobs:
        what = "No job matches." if filtered else "There are no jobs yet; `quickalign train` makes one."
        return Text(what)
    table = parts.table("job", "kind", "state", "name", "progress", "age", right=[5])
    table.padding = (0, 1, 0, 0)
    for index in (0, 1, 2, 4, 5):
        table.columns[index].no_wrap = True
    for job in jobs:
        age = _age(time.time() - job.created_at)
        name, old = parts.plain(job.name), Text(age, style="quiet")
        table.add_row(job.id, job.kind, _state(job.state), name, _progress(job), old)
    shown = f"{count(len(jobs), 'job')}" + ("; --limit shows more" if more else "") + "."
    return Group(table, "", Text(shown, style="quiet"))


def job_view(job: Job, checkpoints: Sequence[Checkpoint]) -> Group:
    """One job in full."""
    blocks: list[RenderableType] = [parts.heading(job.name, job.id), parts.facts(_facts(job, checkpoints))]
    if job.kind == "train" and job.training.hyperparameters:
        options = parts.Command(as_options(dict(job.training.hyperparameters)))
        blocks += ["", Text("  Options that were set:", style="label"), options]
    if job.state is JobState.FAILED and job.reason:
        blocks += ["", parts.Signed("✗", job.reason.message, sign_style="bad", style="bold")]
    return Group(*blocks)


def state_line(job: Job) -> Text:
    """Where one job stands, on one line."""
    text = Text.assemble(f"{job.id}  ", _state(job.state))
    return text.append(f"  {printable(job.reason.message)}", style="quiet") if job.reason else text


def event_line(event: Event) -> Text:
    """One event: when, what kind, and what it says."""
    when = f"{datetime.fromtimestamp(event.created_at).astimezone():%Y-%m-%d %H:%M:%S}"
    sign, style = _SIGNS.get(event.kind, ("·", "quiet"))
    text = Text.assemble((f"{event.sequence:>4}  {when}  ", "quiet"), (f"{sign} ", style))
    return text.append(f"{event.kind:<10}  ", style="label").append(printable(event.message))


def metrics_view(lines: Sequence[dict[str, Any]], kind: Literal["steps", "evaluations"]) -> RenderableType:
    """Figures by step; a long run shows evenly spaced steps and the last one."""
    if not lines:
        return Text(f"There are no {kind} yet.")
    shown = [name for name in _METRICS[kind] if any(line.get(name) is not None for line in lines)]
    table = parts.table(*(name.removeprefix("rewards_").replace("_", " ") for name in shown), right=range(len(shown)))
    every = max(1, -(-len(lines) // _SHOWN_METRICS))
    picked = [*lines[:-1:every], lines[-1]]
    for line in picked:
        table.add_row(*(_figure(name, line.get(name)) for name in shown))
    left_out = len(lines) - len(picked)
    note = f"{count(len(lines), kind.removesuffix('s'))}; --json shows those between." if left_out else ""
    return Group(table, "", Text(note, style="quiet")) if note else table


def _facts(job: Job, checkpoints: Sequence[Checkpoint]) -> Iterator[tuple[str, RenderableType]]:
    state = _state(job.state)
    if job.reason and job.state is not JobState.FAILED:
        state.append(f"  {printable(job.reason.message)}", style="quiet")
    yield "state", state
    if job.progress and not job.state.is_final:
        yield "progress", _progress(job)
    if job.queue_position is not None:
        yield "in the queue", f"at {job.queue_position}, priority {job.priority}"
    yield "kind", job.kind
    yield "model", printable(job.spec.model)
    for name in ("base", "against", "train", "validation", "data"):
        if (value := getattr(job.spec, name, None)) is not None:
            digest = job.inputs.get(name)
            yield name, Text(printable(value) + (f"  sha256 {digest[:16]}" if digest else ""))
    yield "resources", _resources(job)
    yield "times", _times(job)
    if job.attempt > 1:
        yield "started", f"{job.attempt} times"
    if checkpoints:
        yield "checkpoints", ", ".join(f"step {each.step:,}" for each in checkpoints)
    if job.metadata:
        yield "labels", ", ".join(f"{key}={printable(value)}" for key, value in job.metadata.items())
    if job.cloned_from:
        yield "cloned from", job.cloned_from
    if job.model_path:
        digest = f"  sha256 {job.adapter_sha256[:16]}" if job.adapter_sha256 else ""
        yield "weights", Text.assemble((job.model_path, "path"), digest)
    if job.output:
        yield "copied to", Text(printable(job.output), style="path")


def _resources(job: Job) -> str:
    where = count(job.resources.gpus, "GPU") if job.resources.gpus else "CPU"
    if job.resources.workers > 1:
        where = f"{job.resources.workers} workers, {where} each"
    memory = f", {size(job.resources.memory_bytes)} each process" if job.resources.memory_bytes else ""
    return where + memory


def _times(job: Job) -> str:
    made = f"made {datetime.fromtimestamp(job.created_at).astimezone():%Y-%m-%d %H:%M}"
    if job.started_at is None:
        return made
    ran = "running for" if job.running_since else "ran for"
    return f"{made}, {ran} {duration(job.ran_until(time.time()))}"


def _state(state: JobState) -> Text:
    return Text(state.value, style=_STYLES[state])


def _progress(job: Job) -> Text:
    progress = job.progress
    if job.state is JobState.QUEUED and job.queue_position is not None:
        return Text(f"{job.queue_position} in queue", style="quiet")
    if progress is None or job.state.is_final:
        return Text("")
    if not progress.total_steps:
        return Text(printable(progress.phase))
    text = Text(f"{progress.step:,}/{progress.total_steps:,}")
    if progress.seconds_left is not None and job.state is JobState.RUNNING:
        text.append(f"  {duration(progress.seconds_left)}", style="quiet")
    return text


def _age(seconds: float) -> str:
    """How long ago, in one unit."""
    units = ((_DAY, "d"), (3600, "h"), (60, "min"))
    return next((f"{seconds / unit:.0f} {name}" for unit, name in units if seconds >= unit), f"{max(0, seconds):.0f} s")


def _figure(name: str, value: Any) -> str:
    if value is None:
        return "–"
    if name in ("step", "rows"):
        return f"{value:,}"
    if name.endswith("accuracy"):
        return share(value)
    return f"{value:.3g}" if name in ("learning_rate", "grad_norm") else f"{value:.4f}"
