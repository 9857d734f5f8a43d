"""An observer that passes everything on to several others, in order."""

from __future__ import annotations

from pathlib import Path

from quickalign.data.report import DataReport
from quickalign.train.observer import Evaluation, Observer, RunResult, SampleAnswer, StepMetrics
from quickalign.train.plan import Plan


class Several:
    """Tells each of `observers`."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def phase(self, name: str, detail: str = "") -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.phase(name, detail)

    def progress(self, name: str, done: int, total: int | None) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.progress(name, done, total)

    def data_report(self, report: DataReport) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.data_report(report)

    def plan(self, plan: Plan) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.plan(plan)

    def step(self, metrics: StepMetrics, total_steps: int) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.step(metrics, total_steps)

    def evaluation(self, evaluation: Evaluation) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.evaluation(evaluation)

    def samples(self, samples: tuple[SampleAnswer, ...]) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.samples(samples)

    def warning(self, message: str) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.warning(message)

    def note(self, message: str) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.note(message)

    def saved(self, step: int, folder: Path) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.saved(step, folder)

    def done(self, result: RunResult) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.done(result)
