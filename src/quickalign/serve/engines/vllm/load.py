"""Loading a model into vLLM: what it is given, and with which settings."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from quickalign.core.errors import OptionError
from quickalign.hub.shape import read_shape
from quickalign.serve.engine import EngineCannotError, EngineInfo, Load
from quickalign.serve.engines import store
from quickalign.serve.engines.limits import bounded_context
from quickalign.serve.engines.load import first_possible
from quickalign.serve.engines.sharing import is_shared
from quickalign.serve.engines.trained import Trained, load_trained
from quickalign.serve.engines.vllm import environment, shared
from quickalign.serve.engines.vllm.claim import claim
from quickalign.serve.engines.vllm.core import VllmCore
from quickalign.serve.engines.vllm.messages import LEAST_TEMPERATURE
from quickalign.serve.engines.vllm.ranks import rank_bucket
from quickalign.serve.engines.vllm.room import BYTES, Room
from quickalign.serve.engines.vllm.server import VllmServer
from quickalign.train.device import Device, find_device

_log = logging.getLogger(__name__)
_FORMAT = "1"
_LIBRARIES = ("torch", "transformers", "peft")
_TYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
_BASE, _ADAPTER = "base", "adapter"
_MOST_LOGPROBS = 20
_PROBE = (0, 1)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is loaded, and how."""

    load: Load
    python: Path
    device: Device
    precision: str
    context: int
    weights: Path
    beside: bool
    room: Room

    def arguments(self, seqs: int) -> list[str]:
        """Of vLLM's server, for `seqs` answers at once and without an adapter."""
        return [
            "--model", str(self.weights),
            "--served-model-name", _BASE,
            "--dtype", _TYPES[self.precision],
            "--max-model-len", str(self.context),
            "--max-num-seqs", str(seqs),
            "--max-logprobs", str(_MOST_LOGPROBS),
            "--generation-config", "vllm",  # what the folder recommends is not what a request says
            "--skip-tokenizer-init",  # ids go in and out
            "--disable-uvicorn-access-log",
            *self.room.arguments,
        ]  # fmt: skip

    def info(self, found: store.Converted) -> EngineInfo:
        """What is told of the engine."""
        load = self.load
        return EngineInfo(
            engine="vllm",
            device=self.device.name,
            precision=self.precision,
            context=self.context,
            vocabulary=found.vocabulary,
            end_tokens=found.end_tokens,
            slots=load.slots,
            adapter="none" if load.adapter is None else "beside" if self.beside else "merged",
            weights_bytes=self.room.weights,
            references=found.references,
            least_temperature=LEAST_TEMPERATURE,
        )


def load_vllm(load: Load) -> VllmCore:
    """Load what `load` names into a vLLM: one that replicas of its base share, or a server of its own.

    On a GPU an adapter stays beside its base. On a CPU, where that is very slow, and on a base that was quantised in
    training, which vLLM has no form for, it is merged in fp32, once a model. A shared base has its adapters beside it.

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
    is_to_share = is_shared(load.share_base, load.quantization, device.kind)
    precision = first_possible(load.precisions, device)
    may_stay = device.kind == "cuda" and load.quantization == "none"
    beside = load.adapter is not None and (may_stay or is_to_share)
    is_merged = load.quantization != "none" or (load.adapter is not None and not beside)
    versions = {"format": f"{_FORMAT} {'merged' if is_merged else 'facts'}"}
    versions |= {name: version(name) for name in _LIBRARIES}
    found = store.converted(load, "vllm", versions, load_trained, _write_merged if is_merged else _write_nothing)
    weights = found.folder if is_merged else Path(load.weights)
    room = Room(device, read_shape(Path(load.weights)), BYTES[precision])
    context = bounded_context(found.context, load.context)
    plan = _Plan(load, python, device, precision, context, weights, beside, room)
    if is_to_share:
        try:
            return _shared(plan, found)
        except EngineCannotError as error:
            if load.share_base or load.adapter is not None:
                raise
            _log.warning("The base is not shared: %s", error)  # vLLM may have it without places for adapters
    return _alone(plan, found)


def _alone(plan: _Plan, found: store.Converted) -> VllmCore:
    load = plan.load
    arguments = plan.arguments(load.slots) + (_with_adapter(str(load.adapter)) if plan.beside else [])
    server = VllmServer(plan.python, arguments, plan.room.settings(load.slots * plan.context))
    model = _ADAPTER if plan.beside else _BASE
    try:
        server.wait(model, load.probes[0] if load.probes else _PROBE)
    except BaseException:
        server.end()
        raise
    return VllmCore(server, plan.info(found), model)


def _shared(plan: _Plan, found: store.Converted) -> VllmCore:
    load = plan.load
    seqs = shared.most_answers(plan.device.kind)
    beginning = shared.beginning(
        load,
        plan.python,
        plan.arguments(seqs),
        plan.room.settings(shared.KEPT_FOR * load.slots * plan.context),
        shared.Equal(plan.precision, plan.context, plan.device.kind),
        plan.room.weights,
        model=_BASE,
    )
    held = claim(beginning, shared.named_adapter(load.adapter))
    info = replace(plan.info(found), weights_bytes=held.weights_bytes, keeper=held.keeper)
    return VllmCore(held, info, held.model, load.slots)


def _with_adapter(adapter: str) -> list[str]:
    return ["--enable-lora", "--max-lora-rank", str(rank_bucket(adapter)), "--lora-modules", f"{_ADAPTER}={adapter}"]


def _write_merged(trained: Trained, folder: Path) -> list[int]:
    trained.merged().save_pretrained(folder)
    return []


def _write_nothing(trained: Trained, folder: Path) -> list[int]:
    return []
