"""Loading a model into vLLM: what it is given, and with which settings."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

from quickalign.core.errors import OptionError
from quickalign.hub.shape import ModelShape, read_shape
from quickalign.serve.engine import EngineInfo, Load
from quickalign.serve.engines import store
from quickalign.serve.engines.limits import SHARE_OF_MEMORY, bounded_context
from quickalign.serve.engines.load import first_possible
from quickalign.serve.engines.trained import Trained, load_trained
from quickalign.serve.engines.vllm import environment
from quickalign.serve.engines.vllm.core import VllmCore
from quickalign.serve.engines.vllm.server import VllmServer
from quickalign.train.device import Device, find_device

_FORMAT = "1"
_LIBRARIES = ("torch", "transformers", "peft")
_TYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
_BASE, _ADAPTER = "base", "adapter"
_MOST_LOGPROBS = 20
_GB = 1 << 30


def load_vllm(load: Load) -> VllmCore:
    """Load what `load` names into a vLLM server of its own.

    On a GPU an adapter stays beside its base. On a CPU, where that is very slow, and on a base that was quantised in
    training, which vLLM has no form for, it is merged in fp32, once a model.

    Raises:
        EngineCannotError: vLLM cannot compute this model.
        OptionError: it is not installed, or an option is not possible with it.
    """
    python = environment.python()
    if python is None:
        raise OptionError("engine='vllm' is not installed.", "Install it: quickalign engines install vllm.")
    if load.compression != "auto":
        raise OptionError(
            f"weights={load.compression!r} is not possible with engine=vllm.",
            "Serve it with engine=openvino, or leave weights out.",
        )
    device = find_device()
    precision = first_possible(load.precisions, device)
    beside = load.adapter is not None and device.kind == "cuda" and load.quantization == "none"
    is_merged = load.quantization != "none" or (load.adapter is not None and not beside)
    versions = {"format": f"{_FORMAT} {'merged' if is_merged else 'facts'}"}
    versions |= {name: version(name) for name in _LIBRARIES}
    found = store.converted(load, "vllm", versions, load_trained, _write_merged if is_merged else _write_nothing)
    weights = found.folder if is_merged else Path(load.weights)
    context = bounded_context(found.context, load.context)
    shape = read_shape(Path(load.weights))
    room = _Room(device, shape, _BYTES[precision])
    arguments = _arguments(load, weights, precision, context) + (_beside(load) if beside else []) + room.arguments
    server = VllmServer(python, arguments, room.settings(load.slots * context))
    model = _ADAPTER if beside else _BASE
    try:
        server.wait(model, load.probes[0] if load.probes else (0, 1))
    except BaseException:
        server.end()
        raise
    info = EngineInfo(
        engine="vllm",
        device=device.name,
        precision=precision,
        context=context,
        vocabulary=found.vocabulary,
        end_tokens=found.end_tokens,
        slots=load.slots,
        adapter="none" if load.adapter is None else "beside" if beside else "merged",
        weights_bytes=room.weights,
        references=found.references,
    )
    return VllmCore(server, info, model)


def _arguments(load: Load, weights: Path, precision: str, context: int) -> list[str]:
    return [
        "--model", str(weights),
        "--served-model-name", _BASE,
        "--dtype", _TYPES[precision],
        "--max-model-len", str(context),
        "--max-num-seqs", str(load.slots),
        "--max-logprobs", str(_MOST_LOGPROBS),
        "--generation-config", "vllm",  # what the folder recommends is not what a request says
        "--skip-tokenizer-init",  # ids go in and out
        "--disable-uvicorn-access-log",
    ]  # fmt: skip


def _beside(load: Load) -> list[str]:
    rank = json.loads((Path(str(load.adapter)) / "adapter_config.json").read_text(encoding="utf-8"))["r"]
    return [
        "--enable-lora",
        "--max-lora-rank", str(next(size for size in (8, 16, 32, 64, 128, 256, 320, 512) if size >= rank)),
        "--lora-modules", f"{_ADAPTER}={load.adapter}",
    ]  # fmt: skip


class _Room:
    """What vLLM may take of a device: the weights, and half of what is free beside them for keys and values."""

    def __init__(self, device: Device, shape: ModelShape, size: int) -> None:
        self.weights = shape.parameters * size
        self._device = device
        self._a_token = 2 * shape.layers * shape.kv_heads * shape.head_dim * size
        self._free = max(device.available_bytes - self.weights, 0)

    @property
    def arguments(self) -> list[str]:
        """For a GPU: the share of the whole card."""
        if self._device.kind != "cuda":
            return []
        taken = self.weights + self._free * SHARE_OF_MEMORY
        return ["--gpu-memory-utilization", f"{min(taken / self._device.total_bytes, 0.95):.3f}"]

    def settings(self, tokens: int) -> dict[str, str]:
        """For a CPU: gigabytes of keys and values, no more than `tokens` need."""
        if self._device.kind != "cpu":
            return {}
        wanted = min(tokens * self._a_token, int(self._free * SHARE_OF_MEMORY))
        return {"VLLM_CPU_KVCACHE_SPACE": str(max(-(-wanted // _GB), 1))}


def _write_merged(trained: Trained, folder: Path) -> list[int]:
    trained.merged().save_pretrained(folder)
    return []


def _write_nothing(trained: Trained, folder: Path) -> list[int]:
    return []
