"""`python -m quickalign.cluster.service SPEC.json`: one service on a Ray cluster as a plain program.

It deploys an application of Ray Serve and is the one address before its replicas. It writes one line of JSON to
standard output, and to the ready file, when a replica has proved itself; it takes the application away when it is told
to end, and ends itself when the application or the cluster is lost, so that whoever started it starts it anew.
"""

# ruff: noqa: PLC0415 - what takes long to import is imported when the specification has been read

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from quickalign.cluster import service_spec as specs
from quickalign.cluster.service_spec import ServiceSpec
from quickalign.core import atomic
from quickalign.core.errors import StorageError
from quickalign.core.program import exit_code, leave, paths
from quickalign.serve.engine import EngineFailedError
from quickalign.serve.spec import read


def main(arguments: list[str]) -> int:
    """Serve until told to end; returns the exit code of `core.errors`, or `AWAY` where the cluster is lost."""
    from quickalign.cluster.service_connection import ClusterAwayError

    return exit_code(lambda: _serve(arguments), away=(ClusterAwayError, EngineFailedError))


def _serve(arguments: list[str]) -> None:
    from quickalign.cluster.service_connection import connect

    values = read(*paths(arguments))
    address = connect(specs.parse(values))
    values.setdefault("host", address)
    from quickalign.cluster.service_life import live

    spec = specs.parse(values)
    asyncio.run(live(spec, lambda ready: _tell(ready, spec)))


def _tell(ready: dict[str, Any], spec: ServiceSpec) -> None:
    line = json.dumps(ready, ensure_ascii=False) + "\n"
    if spec.ready_file is not None:
        try:
            atomic.write_text(spec.ready_file, line)
        except OSError as error:
            message = f"{spec.ready_file} cannot be written: {error.strerror or error}."
            raise StorageError(message, "Make room.") from None
    sys.stdout.write(line)
    sys.stdout.flush()


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
