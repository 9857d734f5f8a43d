"""How far a run is: the small port that a terminal's moving bar and a log's plain lines share."""

import time
from typing import Protocol

from quickalign.cli.words import rate, share
from quickalign.train.observer import StepMetrics


class Progress(Protocol):
    """Shows work that takes a while. What is printed meanwhile stands above it."""

    def advance(self, name: str, done: int, total: int | None) -> None:
        """`done` of `total` units of `name` are finished; the total may be unknown."""

    def waiting(self, what: str) -> None:
        """Something goes on of which nobody knows how far it is."""

    def step(self, metrics: StepMetrics, total_steps: int) -> None:
        """An optimiser step is done."""

    def close(self) -> None:
        """The work is over, or something else begins."""


class StepClock:
    """The time a run still takes, from the steps of this process alone: a resumed run did the others elsewhere."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._first: int | None = None

    def left(self, step: int, total_steps: int) -> float | None:
        """Seconds to the last step; None until two steps were seen."""
        if self._first is None:
            self._began, self._first = time.monotonic(), step
        done = step - self._first
        return (time.monotonic() - self._began) / done * (total_steps - step) if done else None


def figures(metrics: StepMetrics) -> list[tuple[str, str]]:
    """The figures of a step that people follow, as (name, value) or (value, unit) of a rate."""
    pairs = [("loss", f"{metrics.loss:.4f}")]
    if metrics.rewards_margin is not None and metrics.rewards_accuracy is not None:
        pairs += [("margin", f"{metrics.rewards_margin:+.3f}"), ("accuracy", share(metrics.rewards_accuracy))]
    unit = "pairs/s" if metrics.rewards_margin is not None else "rows/s"
    return [*pairs, (rate(metrics.pairs_per_second), unit), (rate(metrics.tokens_per_second), "tokens/s")]
