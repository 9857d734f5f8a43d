"""`quickalign engines`: what computes the answers of services, and what has to be installed for it."""

# ruff: noqa: PLC0415 - what takes long to import is imported by the command that needs it

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal

import typer

from quickalign.cli import arguments as take
from quickalign.cli.help import HelpfulCommand, HelpfulGroup
from quickalign.cli.terminal import screen, write_json

app = typer.Typer(cls=HelpfulGroup, no_args_is_help=True)


@app.callback()
def group() -> None:
    """Look at and install the engines that compute the answers of services."""


@app.command("list", cls=HelpfulCommand)
def list_engines(*, json: take.AsJson = False) -> None:
    """List all engines: which are installed, in which version, and which one `engine=auto` takes here."""
    from quickalign.cli.draw.engines import engines_view

    found = _engines()
    if json:
        write_json(found)
    else:
        screen().print(engines_view(found))


@app.command(cls=HelpfulCommand)
def install(
    engine: Annotated[Literal["vllm"], typer.Argument(help="vllm: for NVIDIA GPUs, or with --cpu for CPUs.")],
    *,
    cpu: Annotated[bool, typer.Option("--cpu", help="The build for CPUs.")] = False,
) -> None:
    """Install an engine into an environment of its own, in QUICKALIGN_HOME. Interrupted, it goes on when run again.

    quickalign engines install vllm
    """
    from quickalign.serve.engines.vllm import environment
    from quickalign.serve.engines.vllm.install import install as make

    package = make(cpu=cpu, say=_say)
    screen().print(f"{package} {environment.VERSION} is installed: use it with --engine {engine}.")


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _engines() -> list[dict[str, Any]]:
    from importlib.metadata import version

    from quickalign.serve.engines.registry import ENGINES, is_installed, resolve_engine
    from quickalign.serve.engines.vllm import environment

    chosen = resolve_engine("auto")
    found = []
    for name in ENGINES:
        there = is_installed(name)
        told = (environment.installed() or {}).get("version") if name == "vllm" else version(name) if there else None
        found.append({"engine": name, "installed": there, "version": told, "default": name == chosen})
    return found
