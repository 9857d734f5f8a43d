"""What a vLLM that replicas share is started with, and the key that says which replicas share it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from quickalign.core import paths
from quickalign.hub.fingerprint import file_sha256, model_fingerprint
from quickalign.serve.engine import Load
from quickalign.serve.engines.vllm import environment
from quickalign.serve.engines.vllm.beginning import Beginning
from quickalign.serve.engines.vllm.ranks import shared_bucket

KEPT_FOR = 2
"""On a CPU, keys and values are kept for the answers of so many replicas like the first; further ones wait."""
_FORMAT = "1"
_AT_ONCE, _IN_MEMORY = 4, 32
"""Adapters in one batch, and adapters that are not read again from the disk when they are used."""
_MOST_ANSWERS = {"cuda": 256, "cpu": 64}
_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
_PROBE = (0, 1)
_SETTINGS = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"}


@dataclass(frozen=True, slots=True)
class Equal:
    """What must be equal besides the base itself."""

    precision: str
    context: int
    device: str


def most_answers(device: str) -> int:
    """Answers that a shared vLLM computes at once; each replica bounds its own."""
    return _MOST_ANSWERS.get(device, _MOST_ANSWERS["cpu"])


def beginning(
    load: Load,
    python: Path,
    arguments: Sequence[str],
    settings: dict[str, str],
    equal: Equal,
    weights_bytes: int,
    *,
    model: str,
) -> Beginning:
    """What a keeper of the base of `load` is started with, if there is none.

    Raises:
        EngineCannotError: the adapter's rank is beyond what vLLM has.
    """
    rank = shared_bucket(load.adapter)
    lora = ["--enable-lora", "--max-loras", str(_AT_ONCE), "--max-cpu-loras", str(_IN_MEMORY)]
    return Beginning(
        key=_key(load, python, equal, rank),
        python=str(python),
        arguments=(*arguments, *lora, "--max-lora-rank", str(rank)),
        settings=settings | _SETTINGS,
        model=model,
        probe=load.probes[0] if load.probes else _PROBE,
        weights_bytes=weights_bytes,
    )


def named_adapter(folder: str | None) -> tuple[str, str] | None:
    """The adapter by its content, and its folder; None for the plain base."""
    if folder is None:
        return None
    content = _digest([file_sha256(Path(folder) / name) for name in _ADAPTER_FILES])
    return f"adapter-{content[:32]}", folder


def _key(load: Load, python: Path, equal: Equal, rank: int) -> str:
    base = Path(load.weights).resolve()
    device = os.environ.get("CUDA_VISIBLE_DEVICES", "all")
    values = [
        *(_FORMAT, str(paths.home().resolve()), os.geteuid(), str(base), model_fingerprint(base)),
        *(*astuple(equal), device, str(python), environment.VERSION, rank),
    ]
    return _digest(values)[:32]


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
