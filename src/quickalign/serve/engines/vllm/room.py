"""What vLLM may take of a device: the weights, and half of what is free beside them for keys and values."""

from __future__ import annotations

from quickalign.hub.shape import ModelShape
from quickalign.serve.engines.limits import SHARE_OF_MEMORY
from quickalign.train.device import Device

BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
_GB = 1 << 30


class Room:
    """The room of one vLLM on `device`, for a model of this shape whose numbers take `size` bytes each."""

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
