"""A Ray cluster of this machine alone, for trying: started with the server, and ended with it."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from quickalign.core import extras
from quickalign.core.errors import OptionError, QuickalignError, UnavailableError
from quickalign.platform.executors.ray_jobs import RayJobs
from quickalign.platform.executors.wrapper import dies_with

_HOST, _NODE = "127.0.0.1", "127.0.0.2"
"""The dashboard's address and the node's: Ray takes 127.0.0.1 for a mistake and puts the machine's own in its place."""
_START = "from ray.scripts.scripts import main; main()"
_OBJECTS_BYTES = 200 << 20
_START_SECONDS, _STOP_SECONDS = 120.0, 20.0


class LocalCluster:
    """One node whose dashboard listens on this machine only. All of its requests need a token of its own, because Ray's
    other ports listen on all addresses.

    Raises:
        OptionError: Ray is not installed. UnavailableError: it does not start.
    """

    def __init__(self, log: Path) -> None:
        if extras.missing("ray"):
            raise OptionError(
                'ray.address="local" is not possible: Ray is not installed.',
                f"Run `{extras.command('ray')}`, or set ray.address to a cluster's dashboard.",
                field="ray.address",
                value="local",
            )
        self.token = secrets.token_hex(32)
        self._folder = Path(tempfile.mkdtemp(prefix="qa-"))  # short: names of sockets have 107 bytes
        (self._folder / "ray").mkdir()
        port = _free_port()
        self.address = f"http://{_HOST}:{port}"
        self._process = self._begin(port, log)
        try:
            self._wait(log)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the cluster. Runs that are in sessions of their own go on, and are found by the next server."""
        started = _descendants(self._process.pid)
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for process in started:
            with contextlib.suppress(psutil.Error):
                if process.name() in ("raylet", "gcs_server") or process.name().startswith("ray::"):
                    process.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _begin(self, port: int, log: Path) -> subprocess.Popen[bytes]:
        options = [
            "--head", "--block", "--port=0", f"--node-ip-address={_NODE}", f"--dashboard-host={_HOST}",
            f"--dashboard-port={port}", f"--temp-dir={self._folder / 'ray'}", "--disable-usage-stats",
            f"--object-store-memory={_OBJECTS_BYTES}", f"--ray-client-server-port={_free_port()}",
        ]  # fmt: skip
        own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token, "RAY_TMPDIR": str(self._folder)}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        with log.open("ab") as stream:
            return subprocess.Popen(
                [sys.executable, "-c", _START, "start", *options],
                env=kept | own | {"RAY_DEDUP_LOGS": "0", "RAY_USAGE_STATS_ENABLED": "0"},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=dies_with(os.getpid(), signal.SIGTERM),  # noqa: PLW1509 - before the server has threads
            )

    def _wait(self, log: Path) -> None:
        end = time.monotonic() + _START_SECONDS
        while True:
            with contextlib.suppress(QuickalignError), _asked(self) as jobs:
                jobs.check()
                if jobs.nodes():  # the dashboard is there before the node
                    return
            if self._process.poll() is not None or time.monotonic() > end:
                raise UnavailableError("The Ray cluster of this machine does not start.", f"{log} says why.")
            time.sleep(0.3)


@contextlib.contextmanager
def _asked(cluster: LocalCluster) -> Iterator[RayJobs]:
    jobs = RayJobs(cluster.address, cluster.token)
    try:
        yield jobs
    finally:
        jobs.close()


def _descendants(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return list(psutil.Process(pid).children(recursive=True))
    return []


def _free_port() -> int:
    with socket.create_server((_HOST, 0)) as listener:
        return int(listener.getsockname()[1])
