"""A server of a module such as `service_server`, as a process that may die at any moment."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class Dead(Exception):  # noqa: N818 - it is what happened, not a mistake
    """The server ended before it answered; whether it did what it was asked is for the next one to say."""


class Server:
    def __init__(
        self, home: Path, url: str | None = None, *, module: str = "tests.support.platform_server", **environment: str
    ) -> None:
        command = [sys.executable, "-m", module, str(home), *([url] if url else [])]
        self._log = (home.parent / "server.log").open("ab")
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=ROOT,
            env=os.environ | environment,
            start_new_session=True,
        )

    def ready(self) -> "Server":
        """Wait until it answers, or is dead."""
        self._read()
        return self

    def call(self, call: str, **request: Any) -> Any:
        try:
            self.process.stdin.write(json.dumps({"call": call, **request}).encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            raise Dead from None
        found = self._read()
        return found.get("answer")

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        self.process.kill()
        self._collect()

    def stop(self) -> None:
        """End it in order."""
        self.process.stdin.close()
        self.process.wait(30)
        self._collect()

    def _read(self) -> Any:
        line = self.process.stdout.readline()
        if not line.endswith(b"\n"):
            self._collect()
            raise Dead
        return json.loads(line)

    def _collect(self) -> None:
        self.process.wait(30)
        for stream in (self.process.stdin, self.process.stdout, self._log):
            with contextlib.suppress(OSError):
                stream.close()
