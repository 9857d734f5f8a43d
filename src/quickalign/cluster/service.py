"""`python -m quickalign.cluster.service SPEC.json`: one service on a Ray cluster as a plain program.

It deploys an application of Ray Serve and is the one address before its replicas. It writes one line of JSON to
standard output, and to the ready file, when a replica has proved itself; it takes the application away when it is told
to end, and ends itself when the application or the cluster is lost, so that whoever started it starts it anew.
"""

# ruff: noqa: PLC0415 - what takes long to import is imported when the specification has been read

from __future__ import annotations

import asyncio
import sys

from quickalign.cluster import service_spec as specs
from quickalign.core import spec_file
from quickalign.core.program import exit_code, leave, paths, tell_ready
from quickalign.serve.engine import EngineFailedError


def main(arguments: list[str]) -> int:
    """Serve until told to end; returns the exit code of `core.errors`, or `AWAY` where the cluster is lost."""
    from quickalign.cluster.service_connection import ClusterAwayError

    return exit_code(lambda: _serve(arguments), away=(ClusterAwayError, EngineFailedError))


def _serve(arguments: list[str]) -> None:
    from quickalign.cluster.service_connection import connect

    values = spec_file.read(*paths(arguments))
    address = connect(specs.parse(values))
    values.setdefault("host", address)
    from quickalign.cluster.service_life import live

    spec = specs.parse(values)
    asyncio.run(live(spec, lambda ready: tell_ready(ready, spec.ready_file)))


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
