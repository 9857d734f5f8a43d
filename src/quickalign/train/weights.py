"""How the trained weights of a run lie over its processes; here, whole in each of them.

`sharded` has the other way. What differs is in these few calls; steps, metrics and checkpoints are the same for both.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from quickalign.train.distributed import Processes
from quickalign.train.model import Policy
from quickalign.train.optimizer import load_state_tensors, state_tensors


class Weights(Protocol):
    """The trained weights as this process has them.

    Attributes:
        tensors: what this process's optimiser updates, by the parameters' names; plain tensors.
    """

    tensors: dict[str, nn.Parameter]

    def idle_passes(self, own: Callable[[], int]) -> int:
        """How many empty passes this process makes beside its `own()` ones, where all must make equally many.

        Every process asks before its first pass.
        """

    def clear(self) -> None:
        """Forget all gradients."""

    def collect(self) -> None:
        """Put the sum of all processes' gradients on `tensors`."""

    def clip(self, limit: float) -> Tensor:
        """Scale the gradient down where its norm over all weights is above `limit` (0: never); returns that norm."""

    def trained(self) -> dict[str, Tensor] | None:
        """The trained weights put together, in the main process; None where the model has them whole.

        Every process calls it.
        """

    def state(self, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
        """The optimiser's state put together, in the main process; nothing in the others. Every process calls it."""

    def load_state(self, optimizer: torch.optim.Optimizer, state: dict[str, Tensor]) -> None:
        """The inverse of `state`, in every process.

        Raises:
            RunError: the state is of other weights.
        """


class WholeWeights:
    """Every process holds all weights, and gradients are summed once a step."""

    def __init__(self, policy: Policy, processes: Processes) -> None:
        self.tensors = policy.trainable
        self._processes = processes

    def idle_passes(self, own: Callable[[], int]) -> int:
        """None: processes meet once a step, however many passes each has made."""
        return 0

    def clear(self) -> None:
        """See `Weights`."""
        for tensor in self.tensors.values():
            tensor.grad = None

    def collect(self) -> None:
        """See `Weights`."""
        self._processes.sum_gradients(self.tensors.values())

    def clip(self, limit: float) -> Tensor:
        """See `Weights`."""
        return torch.nn.utils.clip_grad_norm_(list(self.tensors.values()), limit or math.inf)

    def trained(self) -> dict[str, Tensor] | None:
        """None: they are in the model."""
        return None

    def state(self, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
        """See `Weights`."""
        return state_tensors(optimizer, self.tensors) if self._processes.is_main else {}

    def load_state(self, optimizer: torch.optim.Optimizer, state: dict[str, Tensor]) -> None:
        """See `Weights`."""
        load_state_tensors(optimizer, self.tensors, state)
