"""Programs that go without packages they have no use for.

transformers and PEFT import whatever they find installed: PyTorch for a process that only has a tokenizer, bitsandbytes
(and with it PyTorch's compiler) for a model that is not quantised. Each costs seconds before the first answer, and
memory for as long as the process lives. `None` in `sys.modules` is Python's own way to say that a package is absent.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

_CONFIG = "config.json"


def leave_out(*packages: str) -> None:
    """Let these packages be absent in this process, unless they are imported already.

    For programs alone: what is left out stays out for everybody in the process.
    """
    for package in packages:
        sys.modules.setdefault(package, None)  # type: ignore[arg-type]  # typeshed knows modules alone


def is_quantised(weights: Path, quantization: str) -> bool:
    """Whether loading the model in the folder `weights` needs bitsandbytes or the like."""
    if quantization != "none":
        return True
    try:
        return "quantization_config" in json.loads((weights / _CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # loading says what is wrong with it
        return True
