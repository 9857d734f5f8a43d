"""What the end of an attempt means for its job."""

import signal
from pathlib import Path
from typing import Any

from quickalign.core.wire.jobs import Reason
from quickalign.platform.jobs.progress import ERROR_FILE, RESULT_FILE, read_json

FAILURES = frozenset(range(2, 14))
"""Exit codes of `core.errors` that say why a run cannot be; trying again would say it again. All others are crashes."""

_TAIL_BYTES = 4096
_TAIL_LINES = 12


def is_failure(exit_code: int | None) -> bool:
    """Whether the run itself said that it cannot go on."""
    return exit_code in FAILURES


def success(kind: str, output: Path) -> tuple[str, dict[str, Any]] | None:
    """What to say of a job that has succeeded, and the columns that its result fills; None where it left none."""
    result = read_json(output / RESULT_FILE)
    if result is None:
        return None
    columns = found(output)
    if kind != "evaluate":
        columns |= {"model_path": str(result.get("adapter")), "adapter_sha256": result.get("adapter_sha256")}
    said = str(result.get("summary") or result.get("adapter")).rstrip(".")
    return f"The job is succeeded: {said}.", columns


def found(output: Path) -> dict[str, Any]:
    """What the run found, as columns; one that missed a limit has found something too."""
    results = (read_json(output / RESULT_FILE) or {}).get("results")
    return {"results": results} if isinstance(results, dict) else {}


def place(kind: str, step: int) -> str:
    """Where a job goes on that was stopped with a checkpoint of `step`, or without one."""
    if kind == "evaluate":
        return "what it has computed"
    return f"step {step}" if step else "its beginning"


def kept(kind: str, step: int) -> str:
    """What a stopped job leaves."""
    if kind == "evaluate":
        return "what it has computed is kept"
    return f"the checkpoint of step {step} is kept" if step else "no step was done"


def failure(exit_code: int, said: str | None, output: Path, logs: list[Path]) -> Reason:
    """The reason of a failed job with the whole message of what failed."""
    message = said
    if message is None and (error := read_json(output / ERROR_FILE)):
        message = str(error.get("message") or "")
    return Reason(code="failed", message=message or _tail(logs) or "It did not say why.", exit_code=exit_code)


def crash(exit_code: int | None, said: str | None, logs: list[Path]) -> Reason:
    """The reason of a crash: what killed the run, and the last it said."""
    if exit_code is None and said:
        return Reason(code="deadline", message=said)
    if exit_code is None:
        how = "Its processes vanished: they were killed, or the machine was restarted."
    elif exit_code < 0:
        how = f"It was killed by {_signal_name(-exit_code)}."
        if -exit_code == signal.SIGKILL:
            how += " The system does that when memory runs out."
    elif exit_code == 130:
        how = "It was stopped from outside, and saved its state."
    else:
        how = f"It ended with the exit code {exit_code}."
    last = said or ("" if exit_code in (None, 130) else _tail(logs))
    return Reason(code="crashed", message=f"{how} Its last words: {last}" if last else how, exit_code=exit_code)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _tail(logs: list[Path]) -> str:
    if not logs:
        return ""
    try:
        with logs[-1].open("rb") as stream:
            stream.seek(max(0, logs[-1].stat().st_size - _TAIL_BYTES))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return ""
    told = (line for line in text.splitlines() if line.strip() and not line.startswith("{"))  # those are for programs
    lines = list(told)[-_TAIL_LINES:]
    found = next((line for line in reversed(lines) if line.startswith("error: ")), None)
    return found.removeprefix("error: ") if found else "\n".join(lines)
