"""The few shapes that every view is made of, so that all of them look alike."""

from collections.abc import Iterable

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from quickalign.cli.words import printable

_INDENT = (0, 0, 0, 2)


def heading(title: str, detail: str = "") -> Text:
    """The line that opens a part of the output."""
    text = Text.assemble(("● ", "heading"), (title, "heading"))
    return text.append(f"  {printable(detail)}", style="quiet") if detail else text


def facts(pairs: Iterable[tuple[str, RenderableType]]) -> Padding:
    """Names on the left, values on the right, without lines."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="label", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs:
        grid.add_row(name, plain(value) if isinstance(value, str) else value)
    return indented(grid)


def table(*columns: str, right: Iterable[int] = ()) -> Table:
    """A table with light lines; the columns numbered in `right` hold figures."""
    made = Table(box=box.SIMPLE_HEAD, header_style="label", pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    numbers = set(right)
    for index, column in enumerate(columns):
        made.add_column(column, justify="right" if index in numbers else "left", overflow="fold")
    return made


def indented(content: RenderableType) -> Padding:
    """Set in below its heading."""
    return Padding(content, _INDENT, expand=False)


def within(content: RenderableType) -> Padding:
    """Set in by one column, and as wide as there is room: for what brings a margin of its own."""
    return Padding(content, (0, 0, 0, 1))


def plain(text: str, style: str = "") -> Text:
    """Somebody's text as it is: no markup is read in it, and it cannot steer the terminal."""
    return Text(printable(text), style=style)


class Signed:
    """A message behind a sign. On a terminal its lines are set in; elsewhere it stays one line, for those who grep."""

    def __init__(self, sign: str, message: str, *, sign_style: str, style: str = "") -> None:
        self._sign = Text(sign, style=sign_style)
        self._message = plain(message, style)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.is_terminal:
            grid = Table.grid(padding=(0, 1))
            grid.add_row(self._sign, self._message)
            yield grid
        else:
            yield Text.assemble(self._sign, " ", self._message, no_wrap=True, overflow="ignore")


class Command:
    """A command line to copy: on a terminal broken before options where it is too long, in a way that shells accept."""

    def __init__(self, line: str) -> None:
        self._line = line

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = _broken(self._line, options.max_width - 4) if options.is_terminal else [self._line]
        for index, line in enumerate(lines):
            last = index == len(lines) - 1
            text = Text("  " + ("    " if index else "") + line, style="command", no_wrap=True, overflow="ignore")
            yield text if last else text.append(" \\")


def _broken(line: str, width: int) -> list[str]:
    """`line` cut before options into pieces of at most `width` columns, continuation marks and indents included."""
    first, *options = line.split(" --")
    pieces = [first]
    for option in options:
        room = width - (4 if len(pieces) > 1 else 0) - len(" \\")
        if len(pieces[-1]) + len(" --") + len(option) <= room:
            pieces[-1] += f" --{option}"
        else:
            pieces.append(f"--{option}")
    return pieces


def caution(message: str) -> Signed:
    """A warning that must be seen."""
    return Signed("  !", message, sign_style="bold yellow", style="caution")


def bar(part: float, width: int) -> str:
    """A bar filled to `part` (0 to 1), in eighths of a column."""
    eighths = round(max(0.0, min(part, 1.0)) * width * 8)
    full, rest = divmod(eighths, 8)
    return "█" * full + ("▏▎▍▌▋▊▉"[rest - 1] if rest else "")
