"""Which charts a run's report shows."""

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

from quickalign.train.observer import Evaluation, StepMetrics
from quickalign.train.report.chart import Chart
from quickalign.train.report.curves import Curve, Point, make_curve

GIGABYTE = 1e9

Row = TypeVar("Row", StepMetrics, Evaluation)


def charts(steps: Sequence[StepMetrics], evaluations: Sequence[Evaluation]) -> tuple[Chart, ...]:
    """All charts for which the run has values, the most telling first."""
    preference = (_accuracy(steps, evaluations), _rewards(steps))
    always = (_loss(steps, evaluations), _logps(steps), *_machine(steps))
    return tuple(chart for chart in (*preference, *always) if chart.curves)


def _accuracy(steps: Sequence[StepMetrics], evaluations: Sequence[Evaluation]) -> Chart:
    return Chart(
        title="Preference accuracy",
        hint="How often the chosen answer gets the higher reward; the dashed line is chance.",
        curves=(
            *_curve("training batch", "a", steps, lambda step: step.rewards_accuracy),
            *_curve("validation", "c", evaluations, lambda one: one.accuracy, marked=True),
        ),
        lowest=0.0,
        highest=1.0,
        guide=0.5,
    )


def _rewards(steps: Sequence[StepMetrics]) -> Chart:
    return Chart(
        title="Rewards",
        hint="The margin should grow. A chosen reward that falls with it means that both answers become unlikely.",
        curves=(
            *_curve("margin", "c", steps, lambda step: step.rewards_margin),
            *_curve("chosen", "a", steps, lambda step: step.rewards_chosen),
            *_curve("rejected", "b", steps, lambda step: step.rewards_rejected),
        ),
        guide=0.0,
    )


def _loss(steps: Sequence[StepMetrics], evaluations: Sequence[Evaluation]) -> Chart:
    return Chart(
        title="Loss",
        unit="nats",
        hint="Validation that rises while training falls means that the run learns its data by heart.",
        curves=(
            *_curve("training batch", "a", steps, lambda step: step.loss),
            *_curve("validation", "c", evaluations, lambda one: one.loss, marked=True),
        ),
    )


def _logps(steps: Sequence[StepMetrics]) -> Chart:
    paired = any(step.logps_rejected is not None for step in steps)
    return Chart(
        title="Log-probability of the answers" if paired else "Log-probability of the answer",
        unit="nats",
        hint="Rejected answers should fall; chosen ones should not fall with them."
        if paired
        else "How likely the model finds the answers it learns.",
        curves=(
            *_curve("chosen" if paired else "answer", "a", steps, lambda step: step.logps_chosen),
            *_curve("rejected", "b", steps, lambda step: step.logps_rejected),
        ),
    )


def _machine(steps: Sequence[StepMetrics]) -> tuple[Chart, ...]:
    norms = _curve("norm", "a", steps, lambda step: step.grad_norm)
    rates = _curve("rate", "a", steps, lambda step: step.learning_rate, noisy=False)
    speeds = _curve("tokens/s", "a", steps, lambda step: step.tokens_per_second)
    peaks = _curve("peak", "a", steps, lambda step: step.peak_memory_bytes / GIGABYTE, noisy=False)
    spike = "Before it is scaled down to max_grad_norm; a spike marks an unusual batch."
    return (
        Chart("Gradient norm", norms, hint=spike, lowest=0.0),
        Chart("Learning rate", rates, lowest=0.0),
        Chart("Throughput", speeds, unit="tokens/s", lowest=0.0),
        Chart("Peak memory", peaks, unit="GB", lowest=0.0),
    )


def _curve(
    name: str,
    tone: str,
    rows: Sequence[Row],
    value: Callable[[Row], float | None],
    *,
    marked: bool = False,
    noisy: bool = True,
) -> tuple[Curve, ...]:
    """One curve, or none where no row has the value."""
    found: list[Point] = [(row.step, v) for row in rows if (v := value(row)) is not None and math.isfinite(v)]
    return (make_curve(name, tone, found, marked=marked, noisy=noisy),) if found else ()
