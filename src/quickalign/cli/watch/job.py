"""A job on a server as people watch it: states, warnings and evaluations above the progress of training."""

from __future__ import annotations

import shlex
import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from rich.console import Console, RenderableType
from rich.text import Text

from quickalign.cli.draw import parts
from quickalign.cli.draw.result import before_and_after, evaluation_line
from quickalign.cli.terminal import screen, write_json
from quickalign.cli.watch.observer import TITLES, best_progress
from quickalign.cli.words import duration, one_line, printable
from quickalign.core.errors import Interrupted
from quickalign.core.wire.jobs import Event, Job, JobState, TrainRequest
from quickalign.sdk.follow import Item, MetricsLine, Stream, follow
from quickalign.sdk.problems import error_of_job
from quickalign.train.observer import Evaluation, StepMetrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quickalign.cli.watch.progress import Progress
    from quickalign.sdk.session import Session

Facts = TypeVar("Facts", StepMetrics, Evaluation)

_LOOK_SECONDS = 2.0
"""How often the job's record is asked for its progress, besides what the streams tell."""

_DOING = 50
"""Longest text beside the bar that moves."""

_TOLD_BETTER = ("evaluation", "done")
"""Events whose figures come with another stream or with the end."""

_SIGNED = {"warning": "!", "error": "✗", "notice": "!"}


class View(Protocol):
    """Shows a job that is watched."""

    def item(self, item: Item) -> None:
        """Something happened."""

    def job(self, job: Job) -> None:
        """The job's record was read again."""

    def end(self, job: Job) -> None:
        """The job is over and has succeeded."""

    def close(self) -> None:
        """Watching ends, for whatever reason."""


def watch_job(session: Session, job_id: str, *, as_json: bool) -> Job:
    """Show the job until it is over; returns its record.

    Raises:
        QuickalignError: the job failed; the kind says of what. Interrupted: it was cancelled or paused, or the user
            stopped the watching; the remedy says how to come back.
    """
    job = session.jobs.get(job_id)
    view: View = JsonView() if as_json else ScreenView(screen(), session.is_own_server)
    view.job(job)
    try:
        job = _followed(session, job, view)
    except KeyboardInterrupt:
        raise Interrupted(
            f"Stopped watching; job {job_id} goes on.",
            f"`quickalign jobs watch {job_id}` watches it again, `quickalign jobs cancel {job_id}` stops it.",
        ) from None
    finally:
        view.close()
    if job.state is JobState.FAILED:
        raise error_of_job(job)
    if job.state is JobState.CANCELLED:
        raise Interrupted(f"Job {job.id} was cancelled.", f"`quickalign jobs clone {job.id}` makes another like it.")
    if job.state is JobState.PAUSED:
        raise Interrupted(f"Job {job.id} is paused.", f"`quickalign jobs resume {job.id}` goes on with it.")
    view.end(job)
    return job


def _followed(session: Session, job: Job, view: View) -> Job:
    told: dict[Stream, int] = {"events": 0, "steps": 0, "evaluations": 0}
    looked = time.monotonic()
    while True:
        for item in follow(session.client, job.id, told):
            if item is not None:
                view.item(item)
            if time.monotonic() - looked >= _LOOK_SECONDS:
                job, looked = session.jobs.get(job.id), time.monotonic()
                view.job(job)
                if job.state is JobState.PAUSED:
                    return job
        job = session.jobs.get(job.id)
        if job.state.is_final or job.state is JobState.PAUSED:
            return job  # else it had failed and was resumed


class ScreenView:
    """Draws a job on a terminal, or as plain lines where nobody watches.

    Args:
        console: where to draw.
        nearby: whether paths of the server are paths of this machine.
        progress: shows how far the work is.
    """

    def __init__(self, console: Console, nearby: bool, progress: Progress | None = None) -> None:
        self._console = console
        self._nearby = nearby
        self._progress = progress or best_progress(console)
        self._job: Job | None = None
        self._evaluations: list[Evaluation] = []
        self._trains = False

    def item(self, item: Item) -> None:
        """See `View`."""
        match item:
            case Event():
                self._event(item)
            case MetricsLine(kind="steps", values=values):
                metrics = _of(StepMetrics, values)
                total = self._job.progress.total_steps if self._job and self._job.progress else None
                self._trains = True
                self._progress.step(metrics, max(total or 0, metrics.step))
            case MetricsLine(values=values):
                evaluation = _of(Evaluation, values)
                self._evaluations.append(evaluation)
                self._console.print(evaluation_line(evaluation), soft_wrap=True)

    def job(self, job: Job) -> None:
        """See `View`."""
        first = self._job is None
        self._job = job
        if first:
            self._console.print(parts.heading(job.name, job.id), soft_wrap=True)
        if not job.state.is_final and not self._trains:
            self._progress.waiting(_doing(job))

    def end(self, job: Job) -> None:
        """See `View`. Who watches a job of another kind than training shows what it found."""
        if job.kind != "train":
            return
        ran = duration(job.ran_until(time.time()))
        blocks: list[RenderableType] = ["", parts.heading("Done", f"in {ran}")]
        if len(self._evaluations) > 1:
            blocks += [parts.indented(before_and_after(self._evaluations[0], self._evaluations[-1])), ""]
        blocks.append(parts.facts(self._results(job)))
        if self._nearby and job.model_path:
            copied = job.output if job.output and "://" not in job.output else None
            run = shlex.quote(copied or str(Path(job.model_path).parent))
            compare = " --compare" if Path(job.model_path).name == "adapter" else ""
            blocks += ["", Text("  Try it:", style="label")]
            blocks.append(parts.Command(f'quickalign generate {run} "Hello!"{compare}'))
        self._console.print(*blocks, sep="\n")

    def close(self) -> None:
        """See `View`."""
        self._progress.close()

    def _event(self, event: Event) -> None:
        if event.kind in _TOLD_BETTER:
            return
        if event.kind in ("state", "phase"):
            self._progress.close()
            self._console.print(_heading(event, self._job), soft_wrap=True)
        elif event.kind in _SIGNED:
            self._console.print(parts.caution(event.message), crop=False)
        else:
            self._console.print(Text(f"  {printable(event.message)}", style="quiet"), soft_wrap=True)

    def _results(self, job: Job) -> Iterator[tuple[str, RenderableType]]:
        if job.model_path:
            digest = f"  sha256 {job.adapter_sha256[:16]}" if job.adapter_sha256 else ""
            yield "weights", Text.assemble((job.model_path, "path"), digest)
            yield "report", Text(str(Path(job.model_path).parent / "report.html"), style="path")
        if job.output:
            yield "copied to", Text(printable(job.output), style="path")
        yield "job", job.id


class JsonView:
    """Writes what happens as JSON Lines, as `train --local --json` does; the last one of a success is `done`."""

    def __init__(self) -> None:
        self._told = False
        self._total: int | None = None

    def item(self, item: Item) -> None:
        """See `View`."""
        match item:
            case Event() if item.kind not in _TOLD_BETTER:
                _write(item.kind, **item.model_dump(exclude={"kind"}, mode="json"))
            case MetricsLine(kind="steps", values=values):
                _write("step", **{"total_steps": self._total, **values})
            case MetricsLine(values=values):
                _write("evaluation", **values)

    def job(self, job: Job) -> None:
        """See `View`."""
        self._total = job.progress.total_steps if job.progress else self._total
        if not self._told:
            _write("job", job=job)
        self._told = True

    def end(self, job: Job) -> None:
        """See `View`."""
        _write("done", job=job)

    def close(self) -> None:
        """See `View`."""


def _heading(event: Event, job: Job | None) -> Text:
    """The line that opens what a phase or a state brings; data goes by the name its user knows it by."""
    if event.kind == "state":
        return Text.assemble(("● ", "heading"), printable(event.message))
    name, _, detail = event.message.partition(": ")
    if job and name == "data" and isinstance(job.spec, TrainRequest):
        validation = job.spec.validation or ""
        detail = validation if Path(detail).parent.name == "validation" else job.spec.train
    return parts.heading(TITLES.get(name, name.capitalize()), detail)


def _doing(job: Job) -> str:
    """What a job does that does not train yet."""
    if job.state is JobState.RUNNING and job.progress and job.progress.phase:
        return printable(job.progress.phase)
    why = f": {job.reason.message}" if job.reason else ""
    return one_line(printable(job.state.value + why), _DOING)


def _of(kind: type[Facts], values: dict[str, Any]) -> Facts:
    """A line of the metrics as `kind`; figures of another version are left out, missing ones are None."""
    found: dict[str, Any] = {field.name: values.get(field.name) for field in fields(kind)}
    return kind(**found)


def _write(event: str, **values: Any) -> None:
    write_json({"event": event, **values}, line=True)
