"""`python -m quickalign.serve SPEC.json`, or the same as flags: one replica as a plain program.

It writes one line of JSON to standard output when it is ready, and nothing else: where it listens, what it serves, and
what the proof has seen. Everything else goes to standard error.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import Any, get_args

from quickalign.core.errors import OptionError, QuickalignError
from quickalign.core.hyperparameters import Precision
from quickalign.core.program import tell_ready
from quickalign.core.scheduling import answer_soon
from quickalign.core.startup import leave_out, uncollected
from quickalign.core.wire.services import Weights
from quickalign.serve import spec as specs
from quickalign.serve.engines.registry import ENGINES, resolve_engine
from quickalign.serve.process import Child
from quickalign.serve.spec import ServeSpec


def main(arguments: list[str]) -> int:
    """Serve until told to end; returns the exit code of `core.errors`."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        spec = read_arguments(arguments)
        child = Child(resolve_engine(spec.engine))
        try:
            with uncollected():
                import uvloop  # noqa: PLC0415

                from quickalign.serve.run import serve  # noqa: PLC0415 - takes seconds, in which the child starts too

            answer_soon()
            uvloop.run(serve(spec, child, lambda ready: tell_ready(ready, spec.ready_file)))
        finally:
            child.end()
    except QuickalignError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


def read_arguments(arguments: list[str]) -> ServeSpec:
    """The specification that the command line names.

    Raises:
        OptionError: a value that cannot be.
    """
    given = {name: value for name, value in vars(_parser().parse_args(arguments)).items() if value is not None}
    file = given.pop("spec", None)
    if file is None:
        return specs.parse(given, "the command line")
    if given:
        raise OptionError(
            f"The specification {file} and --{next(iter(given)).replace('_', '-')} are both given.",
            "Put everything into the specification, or give flags alone.",
        )
    return specs.load(Path(file))


def _parser() -> argparse.ArgumentParser:
    described = {name: field.description for name, field in ServeSpec.model_fields.items()}
    parser = argparse.ArgumentParser(prog="python -m quickalign.serve", description="Serve one model.")
    parser.add_argument("spec", nargs="?", help="a JSON file with all of the below")

    def add(flag: str, name: str, **how: Any) -> None:
        parser.add_argument(flag, dest=name, help=described[name], **how)

    for name in ("model", "revision", "name", "system_prompt", "host"):
        add(f"--{name.replace('_', '-')}", name)
    for name in ("port", "max_concurrency", "max_waiting", "context"):
        add(f"--{name.replace('_', '-')}", name, type=int)
    for name in ("adapter", "ready_file"):
        add(f"--{name.replace('_', '-')}", name, type=Path)
    add("--token-file", "token_files", type=Path, action="append")
    add("--engine", "engine", choices=("auto", *ENGINES))
    add("--precision", "precision", choices=get_args(Precision))
    add("--weights", "weights", choices=get_args(Weights))
    add("--drain-seconds", "drain_seconds", type=float)
    add("--cache-gb", "cache_gb", type=float)
    add("--share-base", "share_base", action=argparse.BooleanOptionalAction)
    add("--no-proof", "prove", action="store_false", default=None)
    return parser


if __name__ == "__main__":
    leave_out("torch")  # the engine's process computes; this one has the tokenizer
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # that there is no PyTorch is as it should be
    sys.exit(main(sys.argv[1:]))
