"""The servers of `platform_server` as processes that may die at any moment."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class Dead(Exception):  # noqa: N818 - it is what happened, not a mistake
    """The server ended before it answered; whether it did what it was asked is for the next one to say."""


class Servers:
    """Starts servers on one home, quickly: a process that has loaded everything forks them."""

    def __init__(
        self, home: Path, url: str | None = None, config: dict[str, Any] | None = None, **environment: str
    ) -> None:
        self._order = {"home": str(home), "url": url, "log": str(home.parent / "server.log"), "config": config}
        self._environment = environment
        self._orders, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "tests.support.platform_server", str(theirs.fileno())]
            self._process = subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()])

    def start(self, **environment: str) -> "Server":
        mine, its = socket.socketpair()
        order = self._order | {"environment": self._environment | environment}
        with its:
            socket.send_fds(self._orders, [json.dumps(order).encode()], [its.fileno()])
        return Server(int(self._orders.recv(32)), mine)

    def close(self) -> None:
        self._orders.close()
        self._process.wait(30)


class Server:
    def __init__(self, pid: int, connection: socket.socket) -> None:
        self._process = os.pidfd_open(pid)
        self._connection, self._stream = connection, connection.makefile("rwb", buffering=0)

    def ready(self) -> "Server":
        """Wait until it answers, or is dead."""
        self._read()
        return self

    def call(self, call: str, **request: Any) -> Any:
        try:
            self._stream.write(json.dumps({"call": call, **request}).encode() + b"\n")
        except OSError:
            raise Dead from None
        return self._read().get("answer")

    @property
    def alive(self) -> bool:
        return not self._ended(0)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._process, signal.SIGKILL)
        self._collect()

    def stop(self) -> None:
        """End it in order."""
        self._connection.shutdown(socket.SHUT_WR)
        self._collect()

    def _read(self) -> Any:
        try:
            line = self._stream.readline()
        except OSError:
            line = b""
        if not line.endswith(b"\n"):
            raise Dead
        return json.loads(line)

    def _collect(self) -> None:
        assert self._ended(30), "a killed server does not end"
        os.close(self._process)
        self._stream.close()
        self._connection.close()

    def _ended(self, seconds: float) -> bool:
        return bool(select.select([self._process], [], [], seconds)[0])
