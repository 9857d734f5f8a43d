"""Weights in 8 or 4 bits: rounded to the nearest, with a scale a row (int8) or a group of a row (int4).

Activations and keys and values are left alone. Embeddings and the head keep 8 bits where the rest has 4, because a
token's whole meaning passes through one row of them.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13

_GROUPS = (128, 64, 32)
_LEAST = 32
"""Matrices with fewer rows or columns are left as they are."""
_MOST_INT8 = 127
_LEVELS_INT4 = 15

Floats = NDArray[np.float32]


def compress(model: ov.Model, to: Literal["int8", "int4"]) -> None:
    """Replace every weight matrix of `model` by its rounded form."""
    head = max((constant.shape[0] for constant in _matrices(model)), default=0)
    for constant in _matrices(model):
        values = np.ascontiguousarray(constant.data, np.float32)
        group = next((size for size in _GROUPS if values.shape[1] % size == 0), None)
        narrow = to == "int4" and group is not None and values.shape[0] < head and not _looked_up(constant)
        form = int4_form(values, group) if narrow and group is not None else int8_form(values)
        for target in constant.output(0).get_target_inputs():
            target.replace_source_output(form.output(0))
    model.validate_nodes_and_infer_types()


def int8_form(values: Floats) -> ov.Node:
    """[rows, columns] weights as signed bytes, with a scale a row."""
    scale = np.maximum(np.abs(values).max(1, keepdims=True) / _MOST_INT8, np.finfo(np.float32).tiny)
    rounded = np.clip(np.rint(values / scale), -_MOST_INT8, _MOST_INT8).astype(np.int8)
    whole = opset13.convert(opset13.constant(rounded), np.float32)
    return opset13.multiply(whole, opset13.constant(scale.astype(np.float32)))


def int4_form(values: Floats, group: int) -> ov.Node:
    """[rows, columns] weights as half bytes, with a scale and a zero for each `group` of a row."""
    rows, columns = values.shape
    grouped = values.reshape(rows, columns // group, group)
    low = np.minimum(grouped.min(2, keepdims=True), 0)
    high = np.maximum(grouped.max(2, keepdims=True), 0)
    scale = np.maximum((high - low) / _LEVELS_INT4, np.finfo(np.float32).tiny)
    zero = np.clip(np.rint(-low / scale), 0, _LEVELS_INT4)
    rounded = np.clip(np.rint(grouped / scale) + zero, 0, _LEVELS_INT4)
    shifted = opset13.subtract(_half_bytes(rounded), _half_bytes(zero))
    scaled = opset13.multiply(shifted, opset13.constant(scale.astype(np.float32)))
    return opset13.reshape(scaled, opset13.constant(np.array([rows, columns], np.int64)), special_zero=False)


def _half_bytes(values: NDArray[Any]) -> ov.Node:
    """Whole numbers from 0 to 15 as a constant of half bytes, the first in the low half."""
    flat = values.astype(np.uint8).reshape(-1)
    flat = np.append(flat, np.zeros(len(flat) % 2, np.uint8))
    packed, shape = flat[0::2] | (flat[1::2] << 4), ov.Shape(list(values.shape))
    tensor = ov.Tensor(ov.Type.u4, shape)
    ov.Tensor(packed, shape, ov.Type.u4).copy_to(tensor)  # a constant keeps no array of ours alive
    return opset13.convert(ov.op.Constant(tensor), np.float32)


def _matrices(model: ov.Model) -> list[Any]:
    """The constants that are weight matrices: second factors of products, and what ids are looked up in."""
    return [node for node in model.get_ordered_ops() if node.get_type_name() == "Constant" and _is_matrix(node)]


def _is_matrix(node: Any) -> bool:
    if node.get_element_type() != ov.Type.f32 or len(node.shape) != 2 or min(node.shape) < _LEAST:
        return False
    uses = [(target.get_node().get_type_name(), target.get_index()) for target in node.output(0).get_target_inputs()]
    return all(use in (("MatMul", 1), ("Gather", 0)) for use in uses)


def _looked_up(node: Any) -> bool:
    return any(target.get_node().get_type_name() == "Gather" for target in node.output(0).get_target_inputs())
