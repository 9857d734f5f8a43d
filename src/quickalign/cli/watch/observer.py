"""A run as people watch it: each event drawn when it happens, above the progress of the current work."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from quickalign.cli.draw import data_report as data_view
from quickalign.cli.draw import parts
from quickalign.cli.draw.answers import side_by_side
from quickalign.cli.draw.plan import plan_view
from quickalign.cli.draw.result import evaluation_line, result_view
from quickalign.cli.watch.lines import LineProgress
from quickalign.cli.watch.live import LiveProgress
from quickalign.cli.watch.progress import Progress
from quickalign.cli.words import duration, printable
from quickalign.train.observer import Evaluation, Observer, RunResult, SampleAnswer, StepMetrics

if TYPE_CHECKING:
    from quickalign.data.report import DataReport
    from quickalign.train.plan import Plan

TITLES = {
    "model": "Model",
    "data": "Data",
    "validation data": "Validation data",
    "plan": "Plan",
    "load": "Loading",
    "train": "Training",
    "samples": "Samples",
    "save": "Saving",
    "report": "Report",
}
"""What the phases of a run are called on the screen."""


def best_progress(console: Console) -> Progress:
    """A moving bar where the terminal can draw one, else plain lines."""
    return LiveProgress(console) if console.is_terminal and not console.is_dumb_terminal else LineProgress(console)


class ConsoleObserver(Observer):
    """Draws a run on `console`.

    Args:
        console: where to draw.
        progress: shows how far the current work is.
        narration: sentences that are shown when the phase of that name begins for the first time.
        answers: whether sample answers and the closing view are drawn; a caller that does not want them draws its own.
    """

    def __init__(
        self,
        console: Console,
        progress: Progress | None = None,
        *,
        narration: Mapping[str, str] | None = None,
        answers: bool = True,
    ) -> None:
        self._console = console
        self._progress = progress or best_progress(console)
        self._narration = dict(narration or {})
        self._answers = answers
        self._plan_shown = False

    def phase(self, name: str, detail: str = "") -> None:
        """See `Observer`."""
        self._progress.close()
        self._console.print()
        self._console.print(parts.heading(TITLES.get(name, name.capitalize()), detail), soft_wrap=True)
        if sentence := self._narration.pop(name, None):
            self._console.print(parts.indented(sentence))

    def progress(self, name: str, done: int, total: int | None) -> None:
        """See `Observer`."""
        self._progress.advance(name, done, total)

    def data_report(self, report: DataReport) -> None:
        """See `Observer`."""
        self._progress.close()
        self._console.print(data_view.short(report), crop=False)

    def plan(self, plan: Plan) -> None:
        """See `Observer`; the whole plan is drawn once, later calls only sharpen its time."""
        if not self._plan_shown:
            self._console.print(plan_view(plan))
        elif plan.seconds is not None:
            self._line(f"The steps take about {duration(plan.seconds)} from here, by those measured.")
        self._plan_shown = True

    def step(self, metrics: StepMetrics, total_steps: int) -> None:
        """See `Observer`."""
        self._progress.step(metrics, total_steps)

    def evaluation(self, evaluation: Evaluation) -> None:
        """See `Observer`."""
        self._console.print(evaluation_line(evaluation), soft_wrap=True)

    def samples(self, samples: tuple[SampleAnswer, ...]) -> None:
        """See `Observer`."""
        self._progress.close()
        for sample in samples if self._answers else ():
            remark = Text("! the answer after training repeats itself", style="caution") if sample.repeats else None
            self._console.print(side_by_side(sample.prompt, sample.before, sample.after, remark=remark))

    def warning(self, message: str) -> None:
        """See `Observer`."""
        self._console.print(parts.caution(message), crop=False)

    def note(self, message: str) -> None:
        """See `Observer`."""
        self._line(message)

    def saved(self, step: int, folder: Path) -> None:
        """See `Observer`."""
        self._line(f"Checkpoint of step {step} in {folder}")

    def done(self, result: RunResult) -> None:
        """See `Observer`."""
        self._progress.close()
        if self._answers:
            self._console.print("", result_view(result), sep="\n")

    def close(self) -> None:
        """Leave the terminal as it was; to be called however the run ends."""
        self._progress.close()

    def _line(self, message: str) -> None:
        self._console.print(Text(f"  {printable(message)}", style="quiet"), soft_wrap=True)
