"""The model behind an endpoint of its own on loopback, for as long as it is asked."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from quickalign.core.errors import RunError

_END_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a replica is asked, by which name, and with which token."""

    url: str
    model: str
    token: str


@contextmanager
def serving(model: str, *, precision: str, system_prompt: str | None, log: Path) -> Iterator[Endpoint]:
    """Serve `model` by `python -m quickalign.serve` for the length of the block; what it says goes to `log`.

    Raises:
        RunError: it cannot be served.
    """
    token = secrets.token_urlsafe(24)
    # The folder is readable by this user alone, and so is the token in it.
    with tempfile.TemporaryDirectory() as folder, log.open("wb") as errors:
        spec = Path(folder) / "spec.json"
        asked = {"model": model, "precision": precision, "system_prompt": system_prompt, "tokens": [token]}
        spec.write_text(json.dumps(asked), encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "-m", "quickalign.serve", spec],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            yield _wait_for(process, token, log)
        finally:
            _end(process)


def _wait_for(process: subprocess.Popen[str], token: str, log: Path) -> Endpoint:
    """The endpoint, once the replica says that it is ready."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        code = process.wait()
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        said = lines[-1].removeprefix("error: ") if lines else f"exit code {code}"
        raise RunError(f"The model could not be served for lm-eval: {said[:500]}", f"{log} has all that was said.")
    ready = json.loads(line)
    return Endpoint(f"{ready['endpoint']}/v1", ready["model"], token)


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
