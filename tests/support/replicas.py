"""A replica as a process of its own, for tests of the endpoint."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import openai

MODEL = "qwen2-tiny-instruct"
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}


@dataclass
class RunningReplica:
    """A replica that is ready; `told` is its ready line, `errors` what it wrote to standard error."""

    process: subprocess.Popen[str]
    told: dict[str, Any]
    errors: list[str] = field(default_factory=list)
    token: str = "none"

    @property
    def endpoint(self) -> str:
        return str(self.told["endpoint"])

    def client(self, **settings: Any) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.endpoint}/v1", api_key=self.token, **{"max_retries": 0, **settings})

    def async_client(self, **settings: Any) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=f"{self.endpoint}/v1", api_key=self.token, **{"max_retries": 0, **settings})

    def http(self, **settings: Any) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.Client(base_url=self.endpoint, headers=headers, timeout=60, trust_env=False, **settings)

    def open_answers(self) -> int:
        with self.http() as client:
            return int(client.get("/health").json()["open_answers"])


@contextmanager
def running_replica(*flags: str, token: str = "none") -> Iterator[RunningReplica]:
    """Start `python -m quickalign.serve` with these flags, and end it behind the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "quickalign.serve", *flags],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | ENVIRONMENT,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    errors: list[str] = []
    reader = threading.Thread(target=lambda: errors.extend(process.stderr or ()), daemon=True)
    reader.start()
    try:
        line = process.stdout.readline()
        if not line:
            process.wait(30)
            reader.join(30)
            raise AssertionError(f"the replica ended with {process.returncode}: {''.join(errors)}")
        yield RunningReplica(process, json.loads(line), errors, token)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait(20)
        process.stdout.close()
        reader.join(20)
