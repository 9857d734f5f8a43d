"""Loading a model into the OpenVINO engine: converted once, compiled with paged attention."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import openvino as ov

from quickalign.core.errors import OptionError
from quickalign.serve.engine import EngineInfo, Load
from quickalign.serve.engines import store
from quickalign.serve.engines.limits import SHARE_OF_MEMORY, bounded_context
from quickalign.serve.engines.openvino.paging import PagedGraph
from quickalign.serve.engines.paged import PagedCore
from quickalign.train.device import find_cpu

if TYPE_CHECKING:
    from quickalign.serve.engines.trained import Trained

_FORMAT = "1"
"""Of what this package writes; a change makes every model be converted anew."""
_GRAPH, _WEIGHTS = "graph.xml", "graph.bin"
_LIBRARIES = ("openvino", "torch", "transformers", "peft")
_TYPES = {"fp32": ov.Type.f32, "bf16": ov.Type.bf16, "fp16": ov.Type.f16}


def prepare() -> None:
    """Import what a conversion needs where one is sure to come, while the other process still looks for the model.

    Nothing that asks for bitsandbytes, as PEFT does: whether that is needed, the model tells.
    """
    if store.is_empty("openvino"):
        import_module("transformers.masking_utils")
        import_module("transformers.generation.utils")


def load_openvino(load: Load) -> PagedCore:
    """Load what `load` names on this machine's CPU, with the adapter merged into the weights in fp32.

    Keys and values are kept in the precision that is computed in. Weights are rounded where the load asks for it.

    Raises:
        EngineCannotError: the model cannot be converted.
        OptionError: the precision is not possible here, or the context is more than the model's.
    """
    core = ov.Core()
    precision = _precision(load.precisions, core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    versions = {"format": _FORMAT} | {name: version(name) for name in _LIBRARIES}
    found = store.converted(load, "openvino", versions, _read, _writer(load))
    context = bounded_context(found.context, load.context)
    settings = {
        "INFERENCE_PRECISION_HINT": _TYPES[precision],
        "KV_CACHE_PRECISION": _TYPES[precision],
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,  # weights alone are rounded, never what is computed
    }
    graph = PagedGraph(core.read_model(found.folder / _GRAPH), found.windows, settings)
    blocks = _blocks(graph, context, load.slots)
    graph.reserve(blocks)
    weights = (found.folder / _WEIGHTS).stat().st_size
    info = EngineInfo(
        engine="openvino",
        device=str(core.get_property("CPU", "FULL_DEVICE_NAME")),
        precision=precision if load.compression == "auto" else f"{precision}, weights in {load.compression}",
        context=min(context, blocks * graph.block_size),
        vocabulary=found.vocabulary,
        end_tokens=found.end_tokens,
        slots=load.slots,
        adapter="none" if load.adapter is None else "merged",
        weights_bytes=weights if precision == "fp32" or load.compression != "auto" else weights // 2,
        references=found.references,
    )
    return PagedCore(graph, info, blocks=blocks)


def _precision(wanted: tuple[str, ...], capabilities: list[str]) -> str:
    """The first wanted precision that the chip multiplies itself; auto is bf16 or fp32.

    Raises:
        OptionError: it has none of them.
    """
    possible = [name for name in ("bf16", "fp16", "fp32") if name == "fp32" or name.upper() in capabilities]
    for name in wanted:
        if name in possible:
            return name
    if wanted[-1] == "auto":
        return next(name for name in possible if name != "fp16")
    raise OptionError(
        f"precision={wanted[-1]!r} is not possible with engine=openvino on this CPU, which has {', '.join(possible)}.",
        "Choose one of these, or engine=transformers.",
    )


def _read(load: Load) -> Trained:
    from quickalign.serve.engines.trained import load_trained  # noqa: PLC0415 - takes seconds, once a model

    return load_trained(load)


def _writer(load: Load) -> Callable[[Trained, Path], list[int]]:
    def write(trained: Trained, folder: Path) -> list[int]:
        from quickalign.serve.engines.openvino.compress import compress  # noqa: PLC0415
        from quickalign.serve.engines.openvino.graph import convert  # noqa: PLC0415

        graph = convert(trained.merged())
        if load.compression != "auto":
            compress(graph.model, load.compression)
        ov.save_model(graph.model, folder / _GRAPH, compress_to_fp16=False)
        return list(graph.windows)

    return write


def _blocks(graph: PagedGraph, context: int, slots: int) -> int:
    """As many blocks as all slots may fill, or as fit into the memory."""
    fitting = int(find_cpu().available_bytes * SHARE_OF_MEMORY) // graph.block_bytes
    return max(min(slots * -(-context // graph.block_size), fitting), 1)
