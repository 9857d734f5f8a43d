"""`--help` as a page to read: each option on a line with its type and default, its meaning below, at any width."""

import inspect
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from quickalign.cli.terminal import screen

FACTS = "\n\n"
"""Parts an option's meaning from what else is shown of it, such as bounds and default."""

_WIDTH = 100
_LONG = 40
"""A list of choices longer than this goes below its option."""


class HelpfulCommand(TyperCommand):
    """A command with the help page of this module."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page to standard output."""
        _write(self, ctx)


class HelpfulGroup(TyperGroup):
    """A group of commands with the help page of this module."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page to standard output."""
        _write(self, ctx)


def _write(command: TyperCommand | TyperGroup, ctx: Any) -> None:
    console = screen()
    console.width = min(console.width, _WIDTH)
    console.print(Group("", _usage(command, ctx), "", *_about(command.help or "")))
    if isinstance(command, TyperGroup):
        _write_commands(console, command, ctx)
    _write_parameters(console, command, ctx)
    if command.epilog:
        console.print(Text(command.epilog, style="quiet"), "")


def _usage(command: TyperCommand | TyperGroup, ctx: Any) -> Text:
    arguments = [_argument_name(each) for each in command.get_params(ctx) if isinstance(each, TyperArgument)]
    pieces = ["COMMAND", "[OPTIONS]"] if isinstance(command, TyperGroup) else [*arguments, "[OPTIONS]"]
    return Text.assemble(("Usage: ", "label"), (ctx.command_path, "value"), " ", " ".join(pieces))


def _about(text: str) -> Iterator[RenderableType]:
    """The paragraphs of a docstring; one that is a command line is set apart."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("quickalign "):
            yield Padding(Text(paragraph, style="command"), (0, 0, 0, 4), expand=False)
        else:
            yield Text(" ".join(paragraph.split()))
        yield ""


def _write_commands(console: Console, group: TyperGroup, ctx: Any) -> None:
    console.print(Text("Commands", style="heading"))
    grid = Table.grid(padding=(0, 3))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column()
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if command is None or command.hidden:
            continue
        if isinstance(command, TyperGroup):
            for inner in command.list_commands(ctx):
                grid.add_row(f"{name} {inner}", _summary(command.get_command(ctx, inner)))
        else:
            grid.add_row(name, _summary(command))
    console.print(Padding(grid, (0, 0, 1, 2), expand=False))


def _summary(command: Any) -> str:
    return " ".join((command.help or "").split("\n\n")[0].split())


def _write_parameters(console: Console, command: TyperCommand | TyperGroup, ctx: Any) -> None:
    panels: defaultdict[str, list[TyperArgument | TyperOption]] = defaultdict(list)
    for each in command.get_params(ctx):
        if isinstance(each, TyperArgument):
            panels["Arguments"].append(each)
        elif isinstance(each, TyperOption) and not each.hidden:
            panels[each.rich_help_panel or "Options"].append(each)
    for title, found in panels.items():
        console.print(Text(title, style="heading"))
        for each in found:
            console.print(_parameter(each))
        console.print()


def _parameter(parameter: TyperArgument | TyperOption) -> RenderableType:
    about, _, facts = (parameter.help or "").partition(FACTS)
    line = Text("  ")
    meaning = Text(" ".join(about.split()))
    if isinstance(parameter, TyperArgument):
        line.append(_argument_name(parameter), style="bold")
    else:
        names = sorted([*parameter.opts, *parameter.secondary_opts], key=len)
        line.append(", ".join(names), style="bold")
        kind = "" if _is_flag(parameter) else _kind(parameter)
        shown = kind if len(kind) <= _LONG else "NAME"
        line.append(f" {shown}" if shown else "", style="yellow")
        if len(kind) > _LONG:
            meaning.append(f" One of {kind.replace('|', ', ')}.")
    if known := facts or _default(parameter):
        meaning.append(f" ({known})", style="quiet")
    return Group(line, Padding(meaning, (0, 0, 0, 6), expand=False))


def _argument_name(argument: TyperArgument) -> str:
    name = argument.metavar or argument.name.upper()
    several = "..." if argument.nargs != 1 else ""
    return f"{name}{several}" if argument.required else f"[{name}{several}]"


def _kind(option: TyperOption) -> str:
    """The choices, or the name of the type in capitals."""
    if option.metavar:
        return option.metavar
    choices = option.type_descriptor.choices
    if choices:
        return "|".join(str(choice) for choice in choices)
    annotation = option.type_descriptor.annotation
    name = "TEXT" if annotation in (str, list[str]) else getattr(annotation, "__name__", "TEXT").upper()
    return "NUMBER" if name in {"INT", "FLOAT"} else name


def _is_flag(option: TyperOption) -> bool:
    return bool(option.is_flag) or option.name == "help"


def _default(parameter: TyperArgument | TyperOption) -> str:
    value = parameter.default
    if value is None or isinstance(value, bool) or not parameter.show_default or isinstance(parameter, TyperArgument):
        return ""
    return f"default {value}"
