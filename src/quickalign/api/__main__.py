"""`python -m quickalign.api`: the API alone as a program; `python -m quickalign.server` adds the console."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from quickalign.core import disk, paths
from quickalign.core.errors import OptionError, QuickalignError
from quickalign.core.startup import uncollected

if TYPE_CHECKING:
    from quickalign.api.parts import Part


def main(arguments: list[str], parts: "Callable[[], Sequence[Part]]" = tuple) -> int:
    """Serve until a signal comes; returns an exit code of `core.errors`. `parts` says what goes with the API."""
    given = _parser().parse_args(arguments)
    try:
        _serve(given, parts)
    except QuickalignError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


def _serve(given: argparse.Namespace, parts: "Callable[[], Sequence[Part]]") -> None:
    with uncollected():  # after the arguments, so that --help is fast
        from quickalign.api import server  # noqa: PLC0415
        from quickalign.platform import config as configs  # noqa: PLC0415

        beside = parts()

    # taken out: programs that the server starts have no use for its password
    named = os.environ.pop(paths.DATABASE_VARIABLE, None)
    url = (named if given.database_url is None else given.database_url) or None
    home = given.home.expanduser().absolute()
    changes = {name: value for name in ("host", "port") if (value := getattr(given, name)) is not None}
    if not 0 <= changes.get("port", 0) <= 65535:
        raise OptionError(f"There is no port {given.port}.", "Use 0 to 65535; 0 takes any free one.", field="port")
    config = configs.load(home).model_copy(update=changes)
    with disk.explained(home):
        server.run(home, config, database_url=url, insecure_http=given.insecure_http, parts=beside)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m quickalign.api", description="Serve a home over HTTP.")
    parser.add_argument("--home", type=Path, default=paths.home(), help="state folder (default: %(default)s)")
    parser.add_argument("--host", help="address to listen on, in place of config.toml's")
    parser.add_argument("--port", type=int, help="port, in place of config.toml's; 0 takes any free one")
    parser.add_argument(
        "--database-url",
        help=f"a PostgreSQL database in place of SQLite in the home; others see it, but not {paths.DATABASE_VARIABLE}",
    )
    parser.add_argument(
        "--insecure-http", action="store_true", help="listen beyond this machine without encryption all the same"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
