"""Several processes on one run: who am I, sums over all, one order of events.

Gradients are summed here rather than by DDP's hooks: the optimiser batch is cut by tokens, so processes may need a
different number of micro-batches, and one reduction per optimiser step is both exact and the least traffic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from accelerate import PartialState
from torch import Tensor, nn

BUCKET_ELEMENTS = 32 * 1024 * 1024

T = TypeVar("T")


class Processes:
    """The processes of this run; a single process where it was not started by `accelerate launch` or `torchrun`."""

    def __init__(self, *, cpu: bool = False) -> None:
        # without being told, accelerate takes several processes on CPUs for so many runs of one
        self._state = PartialState(cpu=cpu or not torch.cuda.is_available())

    @property
    def rank(self) -> int:
        """This process's number, from 0."""
        return int(self._state.process_index)

    @property
    def world_size(self) -> int:
        """How many processes there are."""
        return int(self._state.num_processes)

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        return torch.device(self._state.device)

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and speaks."""
        return bool(self._state.is_main_process)

    def barrier(self) -> None:
        """Wait for all processes."""
        self._state.wait_for_everyone()

    def sum(self, values: Tensor) -> Tensor:
        """The elementwise sum over all processes, in place."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its sum over all processes; a process without rows adds zeros."""
        if self.world_size == 1:
            return
        for bucket in _buckets(parameters):
            for parameter in bucket:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            gradients = [parameter.grad for parameter in bucket if parameter.grad is not None]
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            dist.all_reduce(flat)
            for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
                gradient.copy_(part.view_as(gradient))

    def main_first(self, work: Callable[[], T]) -> T:
        """Run `work` in the main process, then in the others; for work that the main process leaves on disk."""
        with self._state.main_process_first():
            return work()

    def from_main(self, work: Callable[[], T]) -> T:
        """What `work` gives in the main process, in all of them: one answer, also where folders lag behind."""
        values = [work() if self.is_main else None]
        if self.world_size > 1:
            dist.broadcast_object_list(values, src=0)
        return cast("T", values[0])

    def gather(self, value: Any) -> list[Any]:
        """`value` of every process, in the order of their numbers, on all of them."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values


def _buckets(parameters: Iterable[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    bucket: list[nn.Parameter] = []
    elements = 0
    for parameter in parameters:
        bucket.append(parameter)
        elements += parameter.numel()
        if elements >= BUCKET_ELEMENTS:
            yield bucket
            bucket, elements = [], 0
    if bucket:
        yield bucket
