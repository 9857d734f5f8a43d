"""How a run tells the outside what happens, without knowing who looks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quickalign.data.report import DataReport
    from quickalign.train.plan import Plan


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """One optimiser step: one line of `metrics.jsonl`.

    Losses, rewards and log-probabilities are means over the rows of the optimiser batch (sft's loss: over its answer
    tokens), in nats; a reward is beta times a log-ratio. Rates are of all processes together, the peak is that of the
    main one since it began to load the model. What needs pairs is None for sft.
    """

    step: int
    epoch: float
    loss: float
    grad_norm: float
    learning_rate: float
    rewards_chosen: float | None
    rewards_rejected: float | None
    rewards_margin: float | None
    rewards_accuracy: float | None
    logps_chosen: float
    logps_rejected: float | None
    tokens_per_second: float
    pairs_per_second: float
    peak_memory_bytes: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The validation data measured at one step, as in `StepMetrics`; ties in the accuracy count one half."""

    step: int
    loss: float
    accuracy: float | None
    margin: float | None
    logps_chosen: float
    logps_rejected: float | None
    rows: int


@dataclass(frozen=True, slots=True)
class SampleAnswer:
    """The greedy answers to one prompt before and after training."""

    prompt: str
    before: str
    after: str
    repeats: bool


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a finished run leaves.

    Attributes:
        adapter: the folder of the trained weights, an adapter's or a whole model's.
        resumed_from: the step that the last part of the run went on from; 0 where there was one part.
        final: the last step.
        seconds: of all parts.
        results: figures of the closing evaluation.
    """

    output: Path
    adapter: Path
    steps: int
    resumed_from: int
    final: StepMetrics | None
    first_evaluation: Evaluation | None
    last_evaluation: Evaluation | None
    samples: tuple[SampleAnswer, ...]
    adapter_sha256: str
    peak_memory_bytes: int
    predicted_peak_bytes: int
    seconds: float
    results: dict[str, Any] | None = None


class Observer:
    """Receives what happens, in order and in the training thread. As it is, it does nothing: others override what they
    care for."""

    def phase(self, name: str, detail: str = "") -> None:
        """A new phase begins, such as `data`, `model`, `plan`, `train`, `evaluate`, `samples`, `report`."""

    def progress(self, name: str, done: int, total: int | None) -> None:
        """`done` of `total` units of the current phase are finished (bytes, rows, prompts)."""

    def data_report(self, report: DataReport) -> None:
        """The data was checked."""

    def plan(self, plan: Plan) -> None:
        """Memory, steps and time were predicted; called again when measured steps sharpen the time."""

    def step(self, metrics: StepMetrics, total_steps: int) -> None:
        """An optimiser step is done."""

    def evaluation(self, evaluation: Evaluation) -> None:
        """The validation data was measured."""

    def samples(self, samples: tuple[SampleAnswer, ...]) -> None:
        """Sample prompts were answered before and after training."""

    def warning(self, message: str) -> None:
        """Something the user should know; the run goes on."""

    def note(self, message: str) -> None:
        """A fact worth a line in the log, such as the number of bytes of a 4-bit base."""

    def saved(self, step: int, folder: Path) -> None:
        """A checkpoint is complete on disk."""

    def done(self, result: RunResult) -> None:
        """The run is finished."""


class Observers(Observer):
    """Passes everything on to each of `observers`, in order."""

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
