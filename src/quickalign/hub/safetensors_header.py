"""The header of a safetensors file, read without torch: names, types, shapes and whether the file is whole.

Format: 8 bytes little-endian header length, that many bytes of JSON, then the tensors' bytes.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quickalign.core.errors import ModelError

_MAX_HEADER_BYTES = 100 << 20
_DTYPE_BYTES = {
    "F64": 8, "I64": 8, "U64": 8,
    "F32": 4, "I32": 4, "U32": 4,
    "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
    "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TensorHeader:
    """One stored tensor; `dtype` as the format writes it, such as BF16."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)


def read_header(path: Path) -> dict[str, TensorHeader]:
    """The tensors in the file by name.

    Raises:
        ModelError: the file is no safetensors file, is truncated, or its length does not match its header.
    """
    actual = path.stat().st_size
    with path.open("rb") as stream:
        prefix = stream.read(8)
        length = int.from_bytes(prefix, "little")
        if len(prefix) < 8 or not 2 <= length <= _MAX_HEADER_BYTES:
            raise _damaged(path, "it does not begin like a safetensors file")
        if actual < 8 + length:
            raise _damaged(path, f"it ends inside its header, at {actual:,} bytes")
        text = stream.read(length)
    try:
        entries = json.loads(text)
        tensors, end = _tensors(entries)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _damaged(path, "its header cannot be read") from None
    if actual != 8 + length + end:
        raise _damaged(path, f"it has {actual:,} bytes and its header says {8 + length + end:,}")
    return tensors


def _tensors(entries: dict[str, Any]) -> tuple[dict[str, TensorHeader], int]:
    """The tensors and where the last one ends; offsets must agree with type and shape."""
    tensors = {}
    end = 0
    for name, entry in entries.items():
        if name == "__metadata__":
            continue
        start, stop = entry["data_offsets"]
        tensor = TensorHeader(entry["dtype"], tuple(entry["shape"]))
        width = _DTYPE_BYTES.get(tensor.dtype)
        if width is not None and stop - start != tensor.elements * width:
            raise ValueError(name)
        tensors[name] = tensor
        end = max(end, stop)
    return tensors, end


def _damaged(path: Path, reason: str) -> ModelError:
    return ModelError(f"The weights file {path} is damaged: {reason}.", "Delete it and fetch the model again.")
