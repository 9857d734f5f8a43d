"""From a model of transformers to an OpenVINO graph.

The model is traced with an attention function of its own, registered as transformers documents it. What that function
stands for is written here, in OpenVINO's operations: keys and values that are kept, and attention over them. OpenVINO's
own transformation turns this into paged attention when the graph is loaded (`paging`).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import openvino as ov
import torch
from openvino import opset6, opset13
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch import ConversionExtension
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

from quickalign.core.errors import first_line
from quickalign.serve.engine import EngineCannotError

_NAME = "quickalign_kept"
_OPERATION = "quickalign::kept_attention"


@dataclass(frozen=True, slots=True)
class Graph:
    """A converted model.

    Attributes:
        model: takes `input_ids`, `position_ids`, `beam_idx` and `places` (of the tokens whose logits are made).
        windows: how many tokens each layer looks back; 0 for all.
    """

    model: ov.Model
    windows: tuple[int, ...]


def _told_by_us(error: BaseException | None) -> EngineCannotError | None:
    """Our own error behind one of the converter's, which says in its place that tracing failed."""
    while error is not None and not isinstance(error, EngineCannotError):
        error = error.__cause__ or error.__context__
    return error


def convert(model: PreTrainedModel) -> Graph:
    """Make the graph of `model`, whose weights it shares until it is saved.

    The frontend is asked directly: `ov.convert_model` traces twice and reshapes the graph in ways that nothing here
    needs, in five times as long.

    Raises:
        EngineCannotError: the model computes something that has no form in the graph.
    """
    model.set_attn_implementation(_NAME)
    layers = _Layers()
    frontend = FrontEndManager().load_by_framework("pytorch")
    frontend.add_extension(ConversionExtension(_OPERATION, layers.convert))
    try:
        with torch.no_grad(), warnings.catch_warnings(action="ignore"):
            traced = TorchScriptPythonDecoder(
                _Wrapped(model), example_input=_example(), trace_kwargs={"check_trace": False}
            )
            graph = frontend.convert(frontend.load(traced))
    except Exception as error:  # the exporter and the converter raise of every kind
        if (ours := _told_by_us(error)) is not None:
            raise ours from None
        raise EngineCannotError(f"This model has no form as an OpenVINO graph: {first_line(error)}") from error
    for port, name in zip(graph.inputs, ("input_ids", "position_ids", "beam_idx", "places"), strict=True):
        port.get_tensor().set_names({name})
    graph.add_sinks(layers.sinks)
    return Graph(graph, tuple(layers.windows))


@torch.library.custom_op("quickalign::kept_attention", mutates_args=())
def _kept_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    beam: Tensor,
    scale: float,
    window: int,
    copies: int,
    heads: int,
    size: int,
) -> Tensor:
    """Attention over what is kept, as far as torch knows it: a result of the query's shape."""
    return torch.zeros_like(query)


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    beam_idx: Tensor | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """[rows, heads, places, size] query, key and value -> [rows, places, heads, size]."""
    for name in ("softcap", "s_aux", "position_bias"):
        if others.get(name) is not None:
            raise EngineCannotError(f"This model's attention uses {name}, which has no form in the OpenVINO graph.")
    assert beam_idx is not None
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    heads, size = key.shape[1], key.shape[3]
    attended = torch.ops.quickalign.kept_attention(
        query, key, value, beam_idx, scale, sliding_window or 0, query.shape[1] // heads, heads, size
    )
    return attended.transpose(1, 2), None


AttentionInterface.register(_NAME, _attend)


class _Wrapped(nn.Module):
    """The model with tensors in and logits out, of the asked-for places alone."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self._model = model
        self._places: Tensor | None = None
        model.get_output_embeddings().register_forward_pre_hook(self._chosen)

    def forward(self, input_ids: Tensor, position_ids: Tensor, beam_idx: Tensor, places: Tensor) -> Tensor:
        """[rows, new] ids -> [1, places, vocabulary] logits; `places` count through the rows."""
        self._places = places
        output = self._model(input_ids=input_ids, position_ids=position_ids, use_cache=False, beam_idx=beam_idx)
        logits: Tensor = output.logits
        return logits

    def _chosen(self, _: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor]:
        assert self._places is not None
        hidden = given[0]
        return (hidden.reshape(-1, hidden.shape[-1]).index_select(0, self._places)[None],)


def _example() -> tuple[Tensor, ...]:
    rows, new, places = 2, 3, 4
    return (
        torch.ones(rows, new, dtype=torch.long),
        torch.arange(new)[None].repeat(rows, 1),
        torch.arange(rows, dtype=torch.int32),
        torch.arange(places),
    )


class _Layers:
    """Writes each layer's attention into the graph."""

    def __init__(self) -> None:
        self.windows: list[int] = []
        self.sinks: list[ov.Node] = []

    def convert(self, context: Any) -> list[ov.Output]:
        """Attention over the keys and values kept so far and the new ones."""
        query, key, value, beam = (context.get_input(index) for index in range(4))
        scale, window, *shape = (context.get_values_from_const_input(index) for index in range(4, 9))
        layer = len(self.windows)
        self.windows.append(int(window))
        kept = [self._keep(new, beam, f"{name}.{layer}", *shape) for name, new in (("key", key), ("value", value))]
        unmasked = opset13.constant(np.zeros((1, 1, 1, 1), np.float32))  # paged attention looks back, and only back
        attended = opset13.scaled_dot_product_attention(query, *kept, unmasked, opset13.constant(np.float32(scale)))
        return list(attended.outputs())

    def _keep(self, new: ov.Output, beam: ov.Output, name: str, copies: int, heads: int, size: int) -> ov.Node:
        """[rows, heads, places, size] of all that was kept under `name` and of `new`, for each head of the query."""
        new = opset13.reshape(new, _int64(0, heads, -1, size), special_zero=True)
        rows = opset13.gather(opset13.shape_of(new), _int64(0), opset13.constant(np.int64(0)))
        empty = opset13.broadcast(opset13.constant(np.float32(0)), opset13.concat([rows, _int64(heads, 0, size)], 0))
        kept = opset6.read_value(empty, name, ov.Type.f32, ov.PartialShape([-1, heads, -1, size]))
        both = opset13.concat([opset13.gather(kept, beam, opset13.constant(np.int64(0))), new], 2)
        self.sinks.append(opset6.assign(both, name))
        if copies == 1:
            return both
        apart = opset13.unsqueeze(both, opset13.constant(np.int64(2)))
        repeated = opset13.broadcast(apart, _int64(1, 1, copies, 1, 1), broadcast_spec="BIDIRECTIONAL")
        return opset13.reshape(repeated, _int64(0, copies * heads, -1, size), special_zero=True)


def _int64(*values: int) -> ov.Node:
    return opset13.constant(np.array(values, np.int64))
