"""What the planner says beside its numbers: why it chose something, and what would fit."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Decision:
    """What the planner chose for an option that was left on auto, and why, in one sentence."""

    name: str
    value: str
    reason: str


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Settings that would fit, by option name, with the peak memory that they are predicted to need."""

    settings: dict[str, Any]
    predicted_peak_bytes: int
    sentence: str
