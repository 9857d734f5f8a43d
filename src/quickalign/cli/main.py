"""The `quickalign` command: its parts put together, and how it ends."""

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer
from typer.main import get_command

from quickalign import __version__
from quickalign.cli import failures
from quickalign.cli.commands import cache, data, engines, files, jobs, models, pai, server, services
from quickalign.cli.commands.chat import chat
from quickalign.cli.commands.compare import compare
from quickalign.cli.commands.deploy import deploy
from quickalign.cli.commands.evaluate import evaluate
from quickalign.cli.commands.export import export
from quickalign.cli.commands.generate import generate
from quickalign.cli.commands.plan import plan
from quickalign.cli.commands.push import push
from quickalign.cli.commands.quickstart import quickstart
from quickalign.cli.commands.service_token import token
from quickalign.cli.commands.train import train
from quickalign.cli.help import HelpfulCommand, HelpfulGroup
from quickalign.cli.terminal import open_closed_streams, screen
from quickalign.core import disk
from quickalign.core.errors import QuickalignError

# What the libraries below would print for themselves; quickalign says what users need to know.
_QUIET = {
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "true",
    "BITSANDBYTES_NOWELCOME": "1",
}

app = typer.Typer(
    name="quickalign",
    cls=HelpfulGroup,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda name: name.replace("_", "-"),
    },
    epilog="Exit codes: 0 done, 2 option, 3 data, 4 model, 5 storage, 6 does not fit, 7 run broke, 8 not found, "
    "9 conflict, 10 too large, 11 no access, 12 server unavailable, 13 below a limit, 70 internal fault, 74 disk full, "
    "130 stopped.",
)
app.command(cls=HelpfulCommand)(quickstart)
app.command(cls=HelpfulCommand)(train)
app.command(cls=HelpfulCommand)(plan)
app.command(cls=HelpfulCommand)(generate)
app.command(cls=HelpfulCommand)(deploy)
app.command(cls=HelpfulCommand)(chat)
services.app.command(cls=HelpfulCommand)(token)
app.command(name="eval", cls=HelpfulCommand)(evaluate)
app.command(cls=HelpfulCommand)(compare)
app.command(cls=HelpfulCommand)(export)
app.command(cls=HelpfulCommand)(push)
app.add_typer(jobs.app, name="jobs")
app.add_typer(services.app, name="services")
app.add_typer(files.app, name="files")
app.add_typer(server.app, name="server")
app.add_typer(pai.app, name="pai")
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")
app.add_typer(cache.app, name="cache")
app.add_typer(engines.app, name="engines")


def _show_version(wanted: bool) -> None:
    if wanted:
        screen().print(f"quickalign {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", hidden=True)] = False,
) -> None:
    """From preference data and an open language model to an aligned model, on your own machine.

    Start with `quickalign quickstart`: it trains a small model that comes along, in minutes.
    """
    if debug:
        failures.switch_debugging_on()


def run() -> None:
    """Entry point of the `quickalign` script."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: list[str]) -> int:
    """Run one command line; returns the exit code."""
    _settle()
    as_json = "--json" in arguments
    try:
        with disk.explained(Path("standard output")):
            code = get_command(app).main(arguments, prog_name="quickalign", standalone_mode=False)
    except (Exception, KeyboardInterrupt) as error:
        if failures.debugging() and not isinstance(error, typer.TyperException):
            raise
        return _end(error, as_json=as_json)
    return code if isinstance(code, int) else 0


def _end(error: BaseException, *, as_json: bool) -> int:
    """Say why a command could not go on; returns the exit code."""
    match error:
        case QuickalignError():
            return failures.report_error(error, as_json=as_json)
        case typer.TyperException():
            return failures.report_usage(error, as_json=as_json)
        case KeyboardInterrupt() | typer.Abort():
            return 130
        case BrokenPipeError():
            # whoever read our output has left; writing what is still buffered would fail again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
    assert isinstance(error, Exception)
    return failures.report_fault(error, as_json=as_json)


def _settle() -> None:
    """Quieten libraries, and keep output going where the terminal lacks a character or there is no output."""
    open_closed_streams()
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if not failures.debugging():
        warnings.simplefilter("ignore")
        # it warns of an optional package that only makes some of its CPU work faster
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
