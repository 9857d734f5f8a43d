"""Whether a replica has a use for bitsandbytes; see `core.startup.leave_out`."""

from __future__ import annotations

import json
from pathlib import Path

_CONFIG = "config.json"


def is_quantised(weights: Path, quantization: str) -> bool:
    """Whether loading the model in the folder `weights` needs bitsandbytes or the like."""
    if quantization != "none":
        return True
    try:
        return "quantization_config" in json.loads((weights / _CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # loading says what is wrong with it
        return True
