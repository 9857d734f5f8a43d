"""Which checkpoints a run has, without reading their weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STATE_FILE = "state.json"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A complete checkpoint on disk."""

    folder: Path
    step: int
    state: dict[str, Any]


def checkpoints_folder(output: Path) -> Path:
    """Where a run keeps its checkpoints."""
    return output / "checkpoints"


def step_folder(output: Path, step: int) -> Path:
    """The folder of the checkpoint that a run writes after `step` steps."""
    return checkpoints_folder(output) / f"step-{step:08d}"


def list_checkpoints(output: Path) -> list[Checkpoint]:
    """The run's complete checkpoints, oldest first."""
    found = []
    for folder in sorted(checkpoints_folder(output).glob("step-*")):
        try:
            state = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
        except FileNotFoundError:  # being deleted, or half deleted by a killed process of an earlier version
            continue
        found.append(Checkpoint(folder, int(state["step"]), state))
    return found
