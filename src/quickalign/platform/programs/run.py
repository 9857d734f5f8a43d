"""Run a program of JSON in and JSON out, and turn what it failed with into the exception it was."""

import json
import os
import subprocess
import sys
import threading
from typing import Any

from quickalign.core import errors
from quickalign.core.errors import QuickalignError, UnavailableError

_AT_ONCE = threading.BoundedSemaphore(2)


def run_program(module: str, request: dict[str, Any], seconds: float, *arguments: str) -> dict[str, Any]:
    """Run `python -m module`, give it `request` on its standard input, and return the JSON object it prints last.

    Raises:
        QuickalignError: what the program failed with.
        UnavailableError: it took longer than `seconds`, or died.
    """
    with _AT_ONCE:
        try:
            done = subprocess.run(
                [sys.executable, "-m", module, *arguments],
                input=json.dumps(request).encode(),
                capture_output=True,
                timeout=seconds,
                check=False,
                env=os.environ | {"TOKENIZERS_PARALLELISM": "false"},
            )
        except subprocess.TimeoutExpired:
            raise UnavailableError(
                f"This took longer than {seconds:.0f} seconds and was ended.",
                "Use a smaller file, or let the operator raise estimate_seconds.",
            ) from None
    answer = _last_object(done.stdout)
    if done.returncode == 0 and answer is not None:
        return answer
    raise failure(done.returncode, answer, done.stderr.decode("utf-8", "replace"))


def failure(code: int, answer: dict[str, Any] | None, said: str) -> QuickalignError:
    """The exception of a program that ended with `code`."""
    if answer and "message" in answer:
        kind = errors.kind_of(code) or UnavailableError
        return kind(str(answer["message"]), answer.get("remedy"))
    last = said.strip().rpartition("\n")[2][:300] or "it said nothing"
    how = f"was killed by signal {-code}" if code < 0 else f"ended with the exit code {code}"
    return UnavailableError(f"The program {how}: {last}.", "Try again; if it happens again, see server.log.")


def _last_object(output: bytes) -> dict[str, Any] | None:
    line = output.strip().rpartition(b"\n")[2]
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
