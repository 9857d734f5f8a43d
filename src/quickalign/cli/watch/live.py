"""Progress on a terminal: one bar that moves, with the figures of the last step and the way of the loss below it."""

from collections import deque
from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from quickalign.cli.watch.progress import StepClock, figures
from quickalign.cli.words import duration, share
from quickalign.train.observer import StepMetrics

_TICKS = "▁▂▃▄▅▆▇█"
_LOSSES = 600


class LiveProgress:
    """Draws at the bottom of the terminal and removes itself when closed."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._view: _View | None = None
        self._clock = StepClock()
        self._losses: deque[float] = deque(maxlen=_LOSSES)

    def advance(self, name: str, done: int, total: int | None) -> None:
        """See `Progress`."""
        self._show(_View(name, done, total, share(done / total) if total else f"{done:,}"))

    def waiting(self, what: str) -> None:
        """See `Progress`."""
        self._show(_View(what, 0, None, ""))

    def step(self, metrics: StepMetrics, total_steps: int) -> None:
        """See `Progress`."""
        self._losses.append(metrics.loss)
        left = self._clock.left(metrics.step, total_steps)
        state = f"{metrics.step:,}/{total_steps:,}" + (f"  {duration(left)} left" if left is not None else "")
        below = (_figures(metrics), _Curve("loss", tuple(self._losses)))
        self._show(_View("training", metrics.step, total_steps, state, below))

    def close(self) -> None:
        """See `Progress`."""
        if self._live is not None:
            self._live.stop()
        self._live = self._view = None

    def _show(self, view: "_View") -> None:
        self._view = view
        if self._live is None:
            self._live = Live(get_renderable=self._current, console=self._console, transient=True, refresh_per_second=8)
            self._live.start()

    def _current(self) -> "_View | str":
        return self._view or ""


class _Curve:
    """A line of small columns as wide as there is room for."""

    def __init__(self, name: str, values: tuple[float, ...]) -> None:
        self._name = name
        self._values = values

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = min(60, options.max_width - 16)
        yield Text.assemble(("  " + self._name, "label"), "  ", (sparkline(self._values, width), "path"))


class _View:
    """What is drawn until the next change."""

    def __init__(
        self, name: str, done: int, total: int | None, state: str, below: tuple[Text | _Curve, ...] = ()
    ) -> None:
        self._name = name
        self._bar = ProgressBar(total=total, completed=done, pulse=total is None, complete_style="cyan")
        self._state = state
        self._below = below

    def __rich__(self) -> Group:
        line = Table.grid(padding=(0, 2), expand=True)
        line.add_column(no_wrap=True)
        line.add_column(ratio=1)
        line.add_column(no_wrap=True, justify="right")
        line.add_row(f"  {self._name}", self._bar, self._state)
        return Group(line, *self._below)


def sparkline(values: tuple[float, ...], width: int) -> str:
    """`values` as at most `width` columns of eight heights; each column is the mean of its share of them."""
    means = list(_means(values, max(1, min(width, len(values)))))
    if not means:
        return ""
    low, high = min(means), max(means)
    scale = (len(_TICKS) - 1) / (high - low) if high > low else 0.0
    return "".join(_TICKS[round((mean - low) * scale)] for mean in means)


def _means(values: tuple[float, ...], columns: int) -> Iterator[float]:
    for index in range(columns if values else 0):
        part = values[index * len(values) // columns : (index + 1) * len(values) // columns]
        yield sum(part) / len(part)


def _figures(metrics: StepMetrics) -> Text:
    text = Text("  ")
    for name, value in figures(metrics):
        rate = value.endswith("/s")
        text.append(f"{name} ", style="value" if rate else "label")
        text.append(value, style="label" if rate else "value").append("   ")
    return text
