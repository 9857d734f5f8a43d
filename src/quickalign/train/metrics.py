"""What a run writes down while it goes: `metrics.jsonl`, TensorBoard events, and the alarm on falling likelihood."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from quickalign.core import atomic
from quickalign.train.observer import Evaluation, StepMetrics

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

METRICS_FILE = "metrics.jsonl"
EVALUATIONS_FILE = "evaluations.jsonl"
WARNINGS_FILE = "warnings.jsonl"


class MetricsLog:
    """Appends steps and evaluations to the run's folder, a line each, and mirrors them to TensorBoard.

    Args:
        output: the run's folder.
        resume_step: steps already done; later lines, left by a process that was killed, are cut off.
    """

    def __init__(self, output: Path, resume_step: int) -> None:
        self._steps = output / METRICS_FILE
        self._evaluations = output / EVALUATIONS_FILE
        self._warnings = output / WARNINGS_FILE
        for file in (self._steps, self._evaluations, self._warnings):
            _cut_after(file, resume_step)
        self._tensorboard = _writer(output / "tensorboard", resume_step)

    def step(self, metrics: StepMetrics) -> None:
        """Write one optimiser step."""
        self._append(self._steps, asdict(metrics), "train")

    def evaluation(self, evaluation: Evaluation) -> None:
        """Write one evaluation."""
        self._append(self._evaluations, asdict(evaluation), "validation")

    def warning(self, step: int, message: str) -> None:
        """Write what the user was warned of after `step`."""
        with self._warnings.open("ab") as stream:
            stream.write(orjson.dumps({"step": step, "message": message}) + b"\n")

    def close(self) -> None:
        """Flush everything."""
        self._tensorboard.close()

    def _append(self, path: Path, values: dict[str, Any], group: str) -> None:
        with path.open("ab") as stream:
            stream.write(orjson.dumps(values) + b"\n")
        for name, value in values.items():
            if name != "step" and value is not None:
                self._tensorboard.add_scalar(f"{group}/{name}", value, values["step"])


def read_steps(output: Path) -> list[StepMetrics]:
    """All steps of a run's `metrics.jsonl`; a last line cut off by a crash is left out."""
    return [StepMetrics(**line) for line in _read_lines(output / METRICS_FILE)]


def read_evaluations(output: Path) -> list[Evaluation]:
    """All evaluations of a run."""
    return [Evaluation(**line) for line in _read_lines(output / EVALUATIONS_FILE)]


def read_warnings(output: Path) -> list[str]:
    """What a run warned of, in order."""
    return [line["message"] for line in _read_lines(output / WARNINGS_FILE)]


def _read_lines(path: Path) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    if path.exists():
        for line in path.read_bytes().splitlines():
            try:
                lines.append(orjson.loads(line))
            except orjson.JSONDecodeError:
                break
    return lines


def _cut_after(path: Path, step: int) -> None:
    kept = [line for line in _read_lines(path) if line["step"] <= step] if step else []
    atomic.write_bytes(path, b"".join(orjson.dumps(line) + b"\n" for line in kept))


def _writer(folder: Path, resume_step: int) -> SummaryWriter:
    from torch.utils.tensorboard.writer import SummaryWriter  # noqa: PLC0415 - half a second that only a run should pay

    return SummaryWriter(str(folder), purge_step=resume_step + 1)


class DisplacementAlarm:
    """Tells when chosen answers become steadily less likely while the margin grows (likelihood displacement).

    DPO only asks that the margin grows, and the easiest way can be to push both answers down (Razin et al. 2024,
    Unintentional Unalignment; Pal et al. 2024). The alarm rings once, when the mean log-ratio of chosen answers is
    below `THRESHOLD` nats and lower than `WINDOW` steps ago, while the mean margin is higher. Means are exponential
    moving averages, in which a new step weighs `SMOOTHING`.
    """

    WINDOW = 20
    SMOOTHING = 0.1
    THRESHOLD = -1.0

    def __init__(self, beta: float) -> None:
        self._beta = beta
        self._history: list[tuple[float, float]] = []
        self._rung = False

    def update(self, metrics: StepMetrics) -> str | None:
        """Feed one step; returns the warning when it is due."""
        if metrics.rewards_chosen is None or metrics.rewards_margin is None:
            return None
        now = (metrics.rewards_chosen / self._beta, metrics.rewards_margin / self._beta)
        chosen, margin = self._history[-1] if self._history else now
        smoothed = (chosen + self.SMOOTHING * (now[0] - chosen), margin + self.SMOOTHING * (now[1] - margin))
        self._history.append(smoothed)
        self._history = self._history[-self.WINDOW - 1 :]
        if self._rung or len(self._history) <= self.WINDOW:
            return None
        before = self._history[0]
        if not (smoothed[0] < self.THRESHOLD and smoothed[0] < before[0] and smoothed[1] > before[1]):
            return None
        self._rung = True
        return (
            f"At step {metrics.step} the chosen answers are {-smoothed[0]:.1f} nats less likely than under the "
            "reference and still falling, while the margin grows: the model learns to avoid both answers "
            "(likelihood displacement). Remedies: sft_weight=0.1, a lower learning_rate, a higher dpo_beta, or "
            "loss_type=dpop or apo_zero."
        )

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of the alarm."""
        return {"history": self._history, "rung": self._rung}

    def load(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self._history = [(float(a), float(b)) for a, b in state["history"]]
        self._rung = bool(state["rung"])
