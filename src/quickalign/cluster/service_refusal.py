"""How a replica that cannot be tells the program that asked for it: a file on the disk that both see."""

from __future__ import annotations

import json
from pathlib import Path

from quickalign.core import atomic, errors
from quickalign.core.errors import QuickalignError, RunError


def write(file: Path, error: QuickalignError) -> None:
    """Write down why a replica cannot be."""
    told = {"exit_code": error.exit_code, "message": error.message, "remedy": error.remedy}
    atomic.write_text(file, json.dumps(told, ensure_ascii=False) + "\n")


def read(file: Path) -> QuickalignError | None:
    """What a replica wrote, as an error with the same exit code; None where there is nothing."""
    try:
        told = json.loads(file.read_bytes())
        code, message, remedy = int(told["exit_code"]), str(told["message"]), told["remedy"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (errors.kind_of(code) or RunError)(message, remedy)
