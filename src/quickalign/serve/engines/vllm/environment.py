"""Where vLLM is installed: an environment of its own, because its wheel pins PyTorch and transformers."""

from __future__ import annotations

import json
import os
from pathlib import Path

from quickalign.core import atomic, paths

VERSION = "0.32.0"
"""The release that the engine is written and tested for."""
PYTHON_VARIABLE = "QUICKALIGN_VLLM_PYTHON"
_MARKER = "quickalign.json"


def folder() -> Path:
    """Where `quickalign engines install vllm` puts it."""
    return paths.home() / "engines" / "vllm"


def python() -> Path | None:
    """The interpreter that has vLLM: the one that the environment variable names, or else the one installed here."""
    if named := os.environ.get(PYTHON_VARIABLE):
        return Path(named)
    return folder() / "bin" / "python" if installed() is not None else None


def installed() -> dict[str, str] | None:
    """What is installed here: `package` and `version`; None where nothing is, or not all of it."""
    try:
        found = json.loads((folder() / _MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(found, dict) and (folder() / "bin" / "python").exists()
    return {"package": str(found["package"]), "version": str(found["version"])} if whole else None


def mark_whole(package: str) -> None:
    """Say that everything is there; until then nothing counts as installed."""
    atomic.write_text(folder() / _MARKER, json.dumps({"package": package, "version": VERSION}) + "\n")


def unmark() -> None:
    """Say that something is going to change."""
    (folder() / _MARKER).unlink(missing_ok=True)
