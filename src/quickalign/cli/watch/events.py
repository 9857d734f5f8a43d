"""A run as JSON Lines on standard output: one object an event, for scripts."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quickalign.cli.terminal import write_json
from quickalign.train.observer import Evaluation, Observer, RunResult, SampleAnswer, StepMetrics

if TYPE_CHECKING:
    from quickalign.data.report import DataReport
    from quickalign.train.plan import Plan


class JsonEvents(Observer):
    """Writes every event as `{"event": NAME, ...}`; the last one of a run that succeeds is `done`."""

    def phase(self, name: str, detail: str = "") -> None:
        """See `Observer`."""
        _write("phase", name=name, detail=detail)

    def progress(self, name: str, done: int, total: int | None) -> None:
        """See `Observer`."""
        _write("progress", name=name, done=done, total=total)

    def data_report(self, report: DataReport) -> None:
        """See `Observer`."""
        _write("data_report", report=report)

    def plan(self, plan: Plan) -> None:
        """See `Observer`."""
        _write("plan", plan=plan.to_json())

    def step(self, metrics: StepMetrics, total_steps: int) -> None:
        """See `Observer`."""
        _write("step", total_steps=total_steps, **asdict(metrics))

    def evaluation(self, evaluation: Evaluation) -> None:
        """See `Observer`."""
        _write("evaluation", **asdict(evaluation))

    def samples(self, samples: tuple[SampleAnswer, ...]) -> None:
        """See `Observer`."""
        _write("samples", samples=samples)

    def warning(self, message: str) -> None:
        """See `Observer`."""
        _write("warning", message=message)

    def note(self, message: str) -> None:
        """See `Observer`."""
        _write("note", message=message)

    def saved(self, step: int, folder: Path) -> None:
        """See `Observer`."""
        _write("saved", step=step, folder=folder)

    def done(self, result: RunResult) -> None:
        """See `Observer`."""
        _write("done", result=result)


class NoProgress:
    """A `Progress` that shows nothing, for commands whose output is one JSON value."""

    def advance(self, name: str, done: int, total: int | None) -> None:
        """See `Progress`."""

    def waiting(self, what: str) -> None:
        """See `Progress`."""

    def step(self, metrics: StepMetrics, total_steps: int) -> None:
        """See `Progress`."""

    def close(self) -> None:
        """See `Progress`."""


def _write(event: str, **values: Any) -> None:
    write_json({"event": event, **values}, line=True)
