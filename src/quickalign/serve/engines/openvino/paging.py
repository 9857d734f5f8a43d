"""A converted graph, compiled with paged attention: keys and values lie in blocks that any row may name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import openvino as ov
import torch
from openvino import opset13
from openvino._offline_transformations import paged_attention_transformation
from torch import Tensor

from quickalign.serve.engines.paged import Batch

_WINDOW_INPUT = 10
"""Which input of the attention operation says how far it looks back."""


class PagedGraph:
    """Computes batches over its own blocks of keys and values.

    Args:
        model: a graph of `graph.convert`.
        windows: how many tokens each layer looks back; 0 for all.
        settings: OpenVINO's own, among them the precisions.
    """

    def __init__(self, model: ov.Model, windows: Sequence[int], settings: dict[str, Any]) -> None:
        paged_attention_transformation(model)
        _set_windows(model, windows)
        self._compiled = ov.Core().compile_model(model, "CPU", settings)
        self._request = self._compiled.create_infer_request()
        self._caches = [port for port in self._compiled.inputs if "_cache." in port.any_name]

    @property
    def block_size(self) -> int:
        """How many tokens a block holds."""
        return int(self._caches[0].partial_shape[2].get_length())

    @property
    def block_bytes(self) -> int:
        """What a block takes in all layers together."""
        return sum(math.prod(_block_shape(port)) * port.element_type.size for port in self._caches)

    def reserve(self, blocks: int) -> None:
        """Make room for `blocks` blocks; memory is taken as they are written."""
        for port in self._caches:
            shape = ov.Shape([blocks, *_block_shape(port)])
            self._request.set_tensor(port, ov.Tensor(port.element_type, shape))

    def compute(self, batch: Batch) -> Tensor:
        """[scored places, vocabulary] logits; the tokens' keys and values are in their blocks afterwards."""
        given = {
            "input_ids": np.array(batch.tokens, np.int64),
            "position_ids": np.array(batch.positions, np.int64),
            "places": np.array(batch.scored, np.int64),
            "past_lens": np.array(batch.held, np.int32),
            "subsequence_begins": np.array(batch.begins, np.int32),
            "block_indices": np.array(batch.blocks, np.int32),
            "block_indices_begins": np.array(batch.block_begins, np.int32),
            "max_context_len": np.array(batch.longest, np.int32),
        }
        for name, value in given.items():
            self._request.set_tensor(name, ov.Tensor(value, shared_memory=True))
        self._request.infer()
        logits: np.ndarray[Any, Any] = self._request.get_output_tensor(0).data
        return torch.from_numpy(logits)[0]


def _block_shape(port: Any) -> list[int]:
    """[heads, tokens, size] of a block of one cache."""
    return [part.get_length() for part in list(port.partial_shape)[1:]]


def _set_windows(model: ov.Model, windows: Sequence[int]) -> None:
    for node in model.get_ops():
        if node.get_type_name() == "PagedAttentionExtension":
            layer = int(node.input_value(3).get_node().get_friendly_name().rpartition(".")[2])
            if windows[layer]:
                limit = opset13.constant(np.int32(windows[layer]))
                node.input(_WINDOW_INPUT).replace_source_output(limit.output(0))
