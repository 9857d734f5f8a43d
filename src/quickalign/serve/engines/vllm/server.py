"""A vLLM server as a child of the engine's process, on a loopback port that only its key opens."""

from __future__ import annotations

import collections
import contextlib
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from quickalign.core.errors import RunError
from quickalign.serve.engine import EngineCannotError

_START_SECONDS = 1800.0
_LOOK_SECONDS = 0.1
_END_SECONDS = 10.0
_ANSWER_SECONDS = 300.0
_LINES = 40
_NOT_PASSED_ON = frozenset({"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "VLLM_API_KEY"})
_SETTINGS = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_LOGGING_LEVEL": "WARNING"}


class VllmServer:
    """Starts the server; `wait` until it answers, and `end` it.

    Args:
        python: the interpreter of vLLM's environment.
        arguments: of its server, without address and key.
        settings: further environment variables.
    """

    def __init__(self, python: Path, arguments: Sequence[str], settings: dict[str, str]) -> None:
        key = secrets.token_hex(32)
        self.headers = {"Authorization": f"Bearer {key}"}
        port = _free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        self._said: collections.deque[str] = collections.deque(maxlen=_LINES)
        passed = {name: value for name, value in os.environ.items() if name not in _NOT_PASSED_ON}
        served = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port)]
        self._guard = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("guard.py")), *served, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=passed | _SETTINGS | settings | {"VLLM_API_KEY": key},
        )
        threading.Thread(target=self._listen, daemon=True, name="vllm-log").start()

    def wait(self, model: str, prompt: Sequence[int]) -> None:
        """Wait until the server is well and has answered: some models end it at the first request.

        Raises:
            EngineCannotError: it ended, or did not answer.
        """
        deadline = time.monotonic() + _START_SECONDS
        with httpx.Client(base_url=self.endpoint, headers=self.headers, trust_env=False) as client:
            while not self._is_well(client):
                if self._guard.poll() is not None or time.monotonic() > deadline:
                    raise EngineCannotError(f"vLLM did not start: {self._why()}")
                time.sleep(_LOOK_SECONDS)
            body = {"model": model, "prompt": list(prompt), "max_tokens": 2, "temperature": 0, "return_token_ids": True}
            try:
                answer = client.post("/v1/completions", json=body, timeout=_ANSWER_SECONDS)
                ids = answer.json()["choices"][0]["token_ids"] if answer.status_code == httpx.codes.OK else None
            except (httpx.HTTPError, ValueError, LookupError) as error:
                raise EngineCannotError(f"vLLM cannot compute this model: {self._why() or error}") from None
            if not ids:
                raise EngineCannotError(f"vLLM cannot compute this model: it answered {answer.text[:300]}")

    def check(self) -> None:
        """Nothing while the server lives.

        Raises:
            RunError: it has ended.
        """
        if self._guard.poll() is not None:
            raise RunError(f"vLLM ended with exit code {self._guard.returncode}: {self._why()}")

    def end(self) -> None:
        """End the server and everything it started."""
        assert self._guard.stdin is not None
        with contextlib.suppress(OSError):
            self._guard.stdin.close()
        try:
            self._guard.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()

    def _is_well(self, client: httpx.Client) -> bool:
        try:
            return client.get("/health", timeout=5).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def _listen(self) -> None:
        """Pass on what the server writes, and keep the end of it."""
        assert self._guard.stderr is not None
        for line in self._guard.stderr:
            self._said.append(line.strip())
            sys.stderr.write(line)

    def _why(self) -> str:
        """The last error that the server wrote."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._guard.wait(1)
        lines = [line for line in self._said if line]
        errors = [line for line in lines if "Error" in line]
        return (errors or lines or ["it said nothing"])[-1][:500]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
