"""Functions that are compiled for a GPU, where each of their operations would otherwise be a kernel and a round trip
through its memory, and run as they stand on a CPU and on GPUs that Triton does not support."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, TypeVar

import torch
import torch._dynamo
from torch import Tensor

from quickalign.train.gpus import has_triton

Function = TypeVar("Function", bound=Callable[..., Any])

# How many versions of a function one process may need: evaluation, recomputation and other models each add some.
_VERSIONS = 64


def one_kernel(function: Function) -> Function:
    """`function`, whose first argument is a tensor, compiled where that lies on a GPU with Triton."""

    @wraps(function)
    def call(first: Tensor, *others: Any, **named: Any) -> Any:
        return (for_gpu(function) if has_triton(first.device) else function)(first, *others, **named)

    return call  # type: ignore[return-value]


@lru_cache(maxsize=64)
def for_gpu(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` compiled for any lengths.

    Without `fullgraph`, torch would silently run it as it stands once it had compiled too many versions.
    """
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, _VERSIONS)
    return torch.compile(function, dynamic=True, fullgraph=True)


def wide_mm(first: Tensor, second: Tensor, dtype: torch.dtype) -> Tensor:
    """The product of two matrices in `dtype`, which on a GPU is not rounded on the way."""
    if first.is_cuda and dtype != first.dtype:
        return torch.mm(first, second, out_dtype=dtype)
    return torch.mm(first, second).to(dtype)
