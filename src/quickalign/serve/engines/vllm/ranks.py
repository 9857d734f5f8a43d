"""The rank that vLLM makes room for: it has a few sizes, and an adapter's own rank must not be above."""

from __future__ import annotations

import json
from pathlib import Path

from quickalign.serve.engine import EngineCannotError

SIZES = (8, 16, 32, 64, 128, 256, 320, 512)
LEAST_SHARED = 64
"""The room in a base that is shared: adapters of most ranks go into one."""


def rank_bucket(adapter: str) -> int:
    """The smallest of vLLM's sizes that holds the adapter in this folder.

    Raises:
        EngineCannotError: none does.
    """
    config = json.loads((Path(adapter) / "adapter_config.json").read_text(encoding="utf-8"))
    rank = max([int(config["r"]), *map(int, (config.get("rank_pattern") or {}).values())])
    found = next((size for size in SIZES if size >= rank), None)
    if found is None:
        raise EngineCannotError(
            f"The adapter {adapter} has rank {rank}, and vLLM takes {SIZES[-1]} at most.",
            "Serve it with engine=transformers.",
        )
    return found


def shared_bucket(adapter: str | None) -> int:
    """Likewise in a base that is shared.

    Raises:
        EngineCannotError: none holds it.
    """
    return LEAST_SHARED if adapter is None else max(LEAST_SHARED, rank_bucket(adapter))
