"""Services on a Ray cluster as programs of their own, for tests without a platform."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil

from tests.support.replicas import ENVIRONMENT, MODEL

TOKEN = "tok"


@dataclass
class Program:
    """`python -m quickalign.cluster.service`, which is ready; `told` is its ready file."""

    process: subprocess.Popen[bytes]
    folder: Path
    application: str
    told: dict[str, Any]

    @property
    def endpoint(self) -> str:
        return str(self.told["endpoint"])

    def client(self, **settings: Any) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.endpoint}/v1", api_key=TOKEN, max_retries=0, timeout=120, **settings)

    def health(self) -> dict[str, Any]:
        return dict(httpx.get(f"{self.endpoint}/health", timeout=30, trust_env=False).json())

    def replicas(self) -> list[psutil.Process]:
        """The processes of its replicas on this machine."""
        return processes(f"ray::ServeReplica:{self.application}:")

    def end(self, signal_number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        return self.process.wait(90)

    def words(self) -> str:
        return (self.folder / "log").read_text()


@contextlib.contextmanager
def program(folder: Path, cluster: str, name: str, *, seconds: float = 300, **values: Any) -> Iterator[Program]:
    """A service of the embedded model on the cluster for the time of the block."""
    process = start(folder, cluster, name, **values)
    try:
        ready = folder / "ready.json"
        end = time.monotonic() + seconds
        while not ready.exists():
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end, (folder / "log").read_text()
            time.sleep(0.05)
        yield Program(process, folder, f"quickalign-{name}", json.loads(ready.read_text()))
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def start(folder: Path, cluster: str, name: str, **values: Any) -> subprocess.Popen[bytes]:
    """The program with its specification, begun."""
    folder.mkdir(parents=True)
    (folder / "token").write_text(TOKEN + "\n")
    spec = {
        "model": MODEL,
        "name": "tiny",
        "application": f"quickalign-{name}",
        "cluster": cluster,
        "engine": "transformers",
        "token_files": [str(folder / "token")],
        "ready_file": str(folder / "ready.json"),
        "cpus": 0.5,
        "wait_seconds": 180,
    }
    (folder / "spec.json").write_text(json.dumps(spec | values))
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "quickalign.cluster.service", str(folder / "spec.json")]
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=os.environ | ENVIRONMENT)


def processes(beginning: str) -> list[psutil.Process]:
    """The processes of this machine whose command begins so."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or [""]
        if " ".join(words).startswith(beginning):
            found.append(process)
    return found


def wait_for(so: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until it is so."""
    end = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < end, f"it did not happen in time: {what}"
        time.sleep(0.1)
