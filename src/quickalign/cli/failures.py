"""How a command ends when it cannot go on: one sentence, a way out, and an exit code. Never a traceback."""

import os
import time
import traceback
from contextlib import suppress
from pathlib import Path

import typer

from quickalign.cli.draw.parts import Signed
from quickalign.cli.terminal import messages, write_json
from quickalign.core import atomic, options, paths
from quickalign.core.errors import Interrupted, OptionError, QuickalignError

ISSUES = "https://github.com/quickalign/quickalign/issues"
_DEBUG = "QUICKALIGN_DEBUG"


def debugging() -> bool:
    """Whether tracebacks are wanted."""
    return os.environ.get(_DEBUG, "") not in {"", "0"}


def switch_debugging_on() -> None:
    """Ask for tracebacks, in this process and those it starts."""
    os.environ[_DEBUG] = "1"


class InternalError(QuickalignError):
    """A fault of quickalign itself; the exit code is that of BSD's sysexits for internal errors."""

    exit_code = 70


def report_error(error: QuickalignError, *, as_json: bool) -> int:
    """Show an error that has a remedy; returns its exit code."""
    if as_json:
        fault = {"kind": type(error).__name__, "message": error.message, "remedy": error.remedy}
        with suppress(OSError):  # where standard output is at fault, the sentence is said
            write_json({"event": "error", "error": fault | {"exit_code": error.exit_code}}, line=True)
            return error.exit_code
    console = messages()
    console.print()
    if isinstance(error, Interrupted):
        console.print(Signed("■", error.message, sign_style="caution"), crop=False)
    else:
        console.print(Signed("✗", error.message, sign_style="bad", style="bold"), crop=False)
    if error.remedy:
        console.print(Signed("  →", error.remedy, sign_style="good"), crop=False)
    return error.exit_code


def report_usage(error: typer.TyperException, *, as_json: bool) -> int:
    """Show a command line that cannot be understood; returns the exit code."""
    # these kinds have no public name in typer
    if type(error).__name__ == "NoArgsIsHelpError":  # the help was printed already
        return OptionError.exit_code
    unknown = getattr(error, "option_name", None) if type(error).__name__ == "NoSuchOption" else None
    if unknown:
        return report_error(_unknown_option(unknown, error), as_json=as_json)
    context = getattr(error, "ctx", None)
    remedy = f"`{context.command_path} --help` shows how it is used." if context else None
    sentence = error.format_message().replace("Value error, ", "", 1).rstrip(".")
    sentence += "" if sentence.endswith("?") else "."
    return report_error(OptionError(sentence, remedy), as_json=as_json)


def report_fault(error: Exception, *, as_json: bool) -> int:
    """Show an error that nobody expected, with the file its traceback was written to; returns the exit code."""
    lines = "".join(traceback.format_exception(error))
    text = " ".join(str(error).split()) or "no message"
    remedy = f"The details are in {_write_log(lines)}; please report it with that file at {ISSUES}"
    fault = InternalError(f"quickalign failed unexpectedly: {type(error).__name__}: {text}", remedy)
    return report_error(fault, as_json=as_json)


def _write_log(lines: str) -> Path:
    file = paths.home() / "logs" / f"failure-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    atomic.write_text(file, lines)
    return file


def _unknown_option(name: str, error: typer.TyperException) -> OptionError:
    """An unknown option with the nearest valid one among those of the command."""
    context = getattr(error, "ctx", None)
    known = {opt for parameter in context.command.params for opt in parameter.opts} if context else set()
    nearest = options.nearest(name, [opt.lstrip("-").replace("-", "_") for opt in known])
    found = "--" + nearest.replace("_", "-") if nearest else None
    command = context.command_path if context else "quickalign"
    remedy = f"Did you mean {found}?" if found in known else f"`{command} --help` lists all options."
    return OptionError(f"There is no option {name}.", remedy)
