"""Progress in a log, a file or a pipe: plain lines, so few that a long run stays readable."""

import time

from rich.console import Console

from quickalign.cli.watch.progress import StepClock, figures
from quickalign.cli.words import duration, share
from quickalign.train.observer import StepMetrics

_LINES = 20
"""How many lines a run's steps take, and each of its other long phases."""

_SECONDS = 60.0
"""Slow steps write a line at least this often, so that a log shows that the run lives."""


class LineProgress:
    """Writes a line for every twentieth part of the work, and at least one a minute."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._clock = StepClock()
        self._shown: tuple[str, int] | None = None
        self._written = time.monotonic()

    def advance(self, name: str, done: int, total: int | None) -> None:
        """See `Progress`; work of unknown length and work that is done in one go is not reported."""
        if not total or (done >= total and self._shown is None):
            return
        part = _LINES * done // total
        if self._shown != (name, part):
            self._shown = (name, part)
            self._write(f"  {name} {share(done / total)}")

    def waiting(self, what: str) -> None:
        """See `Progress`; a line that says nothing new is not written."""

    def step(self, metrics: StepMetrics, total_steps: int) -> None:
        """See `Progress`."""
        left = self._clock.left(metrics.step, total_steps)
        every = max(1, total_steps // _LINES)
        waited = time.monotonic() - self._written
        if metrics.step % every and metrics.step not in (1, total_steps) and waited < _SECONDS:
            return
        values = "  ".join(f"{name} {value}" for name, value in figures(metrics))
        time_left = f"  {duration(left)} left" if left else ""
        self._write(f"  step {metrics.step}/{total_steps}  {values}{time_left}")

    def close(self) -> None:
        """See `Progress`."""
        self._shown = None

    def _write(self, text: str) -> None:
        self._written = time.monotonic()
        self._console.print(text, soft_wrap=True, markup=False)
