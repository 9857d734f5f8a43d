"""An observer that writes plain lines: for logs, pipes and `python -m quickalign.train`."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from quickalign.data.report import DataReport
from quickalign.train.observer import Evaluation, Observer, RunResult, SampleAnswer, StepMetrics
from quickalign.train.plan import Plan


class Lines(Observer):
    """Writes one line an event to `stream`, flushed at once."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def _write(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()

    def phase(self, name: str, detail: str = "") -> None:
        """See `Observer`."""
        self._write(f"[{name}] {detail}".rstrip())

    def data_report(self, report: DataReport) -> None:
        """See `Observer`."""
        self._write(f"data: {report.ok} rows ok, {report.bad} bad, {report.dropped} dropped; format {report.format}")
        for warning in report.warnings:
            self.warning(warning)

    def plan(self, plan: Plan) -> None:
        """See `Observer`."""
        left = f", {plan.seconds:.0f} s left" if plan.seconds is not None else ""
        self._write(
            f"plan: {plan.steps} steps of {plan.rows_per_step} rows, {plan.predicted_peak_bytes / 1e9:.2f} GB of "
            f"{plan.available_bytes / 1e9:.2f} GB{left}"
        )

    def step(self, metrics: StepMetrics, total_steps: int) -> None:
        """See `Observer`."""
        margin = f" margin {metrics.rewards_margin:.4f}" if metrics.rewards_margin is not None else ""
        self._write(
            f"step {metrics.step}/{total_steps} loss {metrics.loss:.4f}{margin} grad {metrics.grad_norm:.3f} "
            f"{metrics.pairs_per_second:.2f} rows/s"
        )

    def evaluation(self, evaluation: Evaluation) -> None:
        """See `Observer`."""
        accuracy = f" accuracy {evaluation.accuracy:.3f}" if evaluation.accuracy is not None else ""
        self._write(f"validation at step {evaluation.step}: loss {evaluation.loss:.4f}{accuracy}")

    def samples(self, samples: tuple[SampleAnswer, ...]) -> None:
        """See `Observer`."""
        for sample in samples:
            self._write(f"prompt: {sample.prompt!r}\n  before: {sample.before!r}\n  after: {sample.after!r}")

    def warning(self, message: str) -> None:
        """See `Observer`."""
        self._write(f"warning: {message}")

    def note(self, message: str) -> None:
        """See `Observer`."""
        self._write(message)

    def saved(self, step: int, folder: Path) -> None:
        """See `Observer`."""
        self._write(f"saved step {step}: {folder}")

    def done(self, result: RunResult) -> None:
        """See `Observer`."""
        self._write(f"done: {result.adapter} sha256 {result.adapter_sha256}")
