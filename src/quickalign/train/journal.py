"""An observer that leaves a run's news in its folder, for a server that reads it now or after a restart.

events.jsonl   one line an event, only added to: phase, warning, note, plan, data, checkpoint, evaluation, done
status.json    how far the run is, replaced as a whole: the fields of `core.wire.jobs.Progress`
error.json     what the run failed with, where it did
result.json    what a program without steps found; a training run writes its own
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from quickalign.core import atomic
from quickalign.core.errors import QuickalignError
from quickalign.core.wire.jobs import Progress
from quickalign.data.report import DataReport
from quickalign.train.observer import Evaluation, Observer, RunResult, StepMetrics
from quickalign.train.plan import Plan

EVENTS_FILE, STATUS_FILE, ERROR_FILE, RESULT_FILE = "events.jsonl", "status.json", "error.json", "result.json"
_STATUS_SECONDS = 0.5


class Journal(Observer):
    """Writes into the run's folder; a line that a killed process left half-written is removed first."""

    def __init__(self, output: Path) -> None:
        output.mkdir(parents=True, exist_ok=True)
        self._output = output
        self._events = output / EVENTS_FILE
        self._progress = Progress()
        self._told = 0.0
        self._seconds_per_step: float | None = None
        (output / ERROR_FILE).unlink(missing_ok=True)
        _drop_partial_line(self._events)

    def phase(self, name: str, detail: str = "") -> None:
        """See `Observer`."""
        self._event("phase", f"{name}: {detail}" if detail else name, {"phase": name})
        self._update(now=True, phase=name)

    def data_report(self, report: DataReport) -> None:
        """See `Observer`."""
        message = f"{report.ok} rows can be used, {report.bad} cannot; the format is {report.format}."
        facts = report.model_dump(include={"uri", "sha256", "rows", "ok", "bad", "dropped", "format", "kind"})
        self._event("data", message, facts)
        for warning in report.warnings:
            self.warning(warning)

    def plan(self, plan: Plan) -> None:
        """See `Observer`."""
        if plan.seconds is not None:
            self._seconds_per_step = plan.seconds / max(plan.steps - self._progress.step, 1)
        self._update(now=True, total_steps=plan.steps, seconds_left=plan.seconds)
        if plan.seconds is not None:  # only the time is sharper than it was
            return
        needed, available = plan.predicted_peak_bytes / 1e9, plan.available_bytes / 1e9
        message = f"{plan.steps} steps of {plan.rows_per_step} rows; {needed:.2f} of {available:.2f} GB."
        self._event("plan", message, plan.to_json())

    def step(self, metrics: StepMetrics, total_steps: int) -> None:
        """See `Observer`."""
        left = None
        if self._seconds_per_step is not None:
            left = self._seconds_per_step * (total_steps - metrics.step)
        self._update(
            now=metrics.step == total_steps,
            step=metrics.step,
            total_steps=total_steps,
            seconds_left=left,
            loss=metrics.loss,
            rewards_accuracy=metrics.rewards_accuracy,
        )

    def evaluation(self, evaluation: Evaluation) -> None:
        """See `Observer`."""
        accuracy = f", accuracy {evaluation.accuracy:.3f}" if evaluation.accuracy is not None else ""
        message = f"Validation at step {evaluation.step}: loss {evaluation.loss:.4f}{accuracy}."
        values = {name: getattr(evaluation, name) for name in ("step", "loss", "accuracy", "margin", "rows")}
        self._event("evaluation", message, values)

    def warning(self, message: str) -> None:
        """See `Observer`."""
        self._event("warning", message)

    def note(self, message: str) -> None:
        """See `Observer`."""
        self._event("note", message)

    def saved(self, step: int, folder: Path) -> None:
        """See `Observer`."""
        self._event("checkpoint", f"Step {step} is saved.", {"step": step, "path": str(folder)})

    def done(self, result: RunResult) -> None:
        """See `Observer`."""
        values = {"adapter": str(result.adapter), "adapter_sha256": result.adapter_sha256, "steps": result.steps}
        self._event("done", f"The run is finished at step {result.steps}.", values)
        self._update(now=True, step=result.steps, seconds_left=0.0)

    def failed(self, error: QuickalignError) -> None:
        """Leave the whole message of what ended the run."""
        leave_error(self._output, error)

    def _event(self, kind: str, message: str, data: dict[str, Any] | None = None) -> None:
        line = {"created_at": time.time(), "kind": kind, "message": message, "data": data or {}}
        with self._events.open("ab") as stream:
            stream.write(orjson.dumps(line) + b"\n")

    def _update(self, *, now: bool, **changes: Any) -> None:
        self._progress = self._progress.model_copy(update=changes)
        if now or time.monotonic() - self._told >= _STATUS_SECONDS:
            self._told = time.monotonic()
            _replace(self._output / STATUS_FILE, self._progress.model_dump())


class TaskJournal(Journal):
    """The journal of a program that has no steps: how far it is, is how far its phase is."""

    def phase(self, name: str, detail: str = "") -> None:
        """See `Observer`."""
        super().phase(name, detail)
        self._update(now=True, step=0, total_steps=None)

    def progress(self, name: str, done: int, total: int | None) -> None:
        """See `Observer`."""
        self._update(now=False, step=done, total_steps=total)

    def result(self, values: dict[str, Any]) -> None:
        """Leave what was found; with it the program has done its work."""
        atomic.write_bytes(self._output / RESULT_FILE, orjson.dumps(values, option=orjson.OPT_INDENT_2) + b"\n")


def leave_error(output: Path, error: QuickalignError) -> None:
    """Leave the whole message of what ended the run in the folder `output`, if it has room for it."""
    values = {"message": str(error), "exit_code": error.exit_code, "kind": type(error).__name__}
    with suppress(OSError):  # the disk may be full, and nothing is to hide the error itself
        _replace(output / ERROR_FILE, values)


def _replace(path: Path, values: dict[str, Any]) -> None:
    """Replace a file as a whole. It is news, not results: there is no need to wait for the disk."""
    temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    temporary.write_bytes(orjson.dumps(values) + b"\n")
    temporary.replace(path)


def _drop_partial_line(path: Path) -> None:
    try:
        with path.open("rb+") as stream:
            content = stream.read()
            stream.truncate(content.rfind(b"\n") + 1)
    except FileNotFoundError:
        return
