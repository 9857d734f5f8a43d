"""Weights in pieces over the processes (FSDP2): each holds a piece of every layer, of its gradient and its moments.

PyTorch's `fully_shard` puts a layer together before it computes and takes it apart afterwards. What is left for us is
to sum gradients instead of averaging them, to clip by the norm of all pieces, and to give the optimiser plain tensors.
The embedding, the last norm and the head stay whole in every process: the one-pass head reads its matrix tile by tile,
and a tied one is the embedding itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from quickalign.core.errors import OptionError
from quickalign.train.distributed import Processes
from quickalign.train.model import Policy
from quickalign.train.optimizer import load_state_tensors, state_tensors
from quickalign.train.scoring.parts import causal_model, decoder_of
from quickalign.train.scoring.reference import evaluating


class ShardedWeights:
    """See `weights.Weights`. Layers are put together by all processes at once, so all must make the same passes."""

    def __init__(self, policy: Policy, processes: Processes) -> None:
        self._processes = processes
        _shard(policy.model, processes)
        named = {name: weight for name, weight in policy.model.named_parameters() if weight.requires_grad}
        self._sharded = {name: weight for name, weight in named.items() if isinstance(weight, DTensor)}
        self._rows = {name: weight.shape[0] for name, weight in self._sharded.items()}
        # The optimiser's tensors share memory with the pieces, so an update is seen by the next pass.
        self.tensors = {name: _plain(weight) for name, weight in named.items()}
        self._whole = [weight for name, weight in self.tensors.items() if name not in self._sharded]

    def idle_passes(self, own: Callable[[], int]) -> int:
        """See `Weights`."""
        mine = own()
        counts: list[int] = self._processes.gather(mine)
        return max(counts) - mine

    def clear(self) -> None:
        """See `Weights`."""
        for weight in (*self._sharded.values(), *self.tensors.values()):
            weight.grad = None

    def collect(self) -> None:
        """The pieces' gradients were summed layer by layer, in the backward passes."""
        for name, weight in self._sharded.items():
            piece = self.tensors[name]
            gradient = weight.grad
            piece.grad = gradient.to_local() if isinstance(gradient, DTensor) else torch.zeros_like(piece)
        self._processes.sum_gradients(self._whole)

    def clip(self, limit: float) -> Tensor:
        """See `Weights`."""
        inside = get_total_norm([_gradient(self.tensors[name]) for name in self._sharded])
        outside = get_total_norm([_gradient(weight) for weight in self._whole]).to(inside.device)
        norm = (self._processes.sum(inside.square()) + outside.square()).sqrt()
        clip_grads_with_norm_(list(self.tensors.values()), limit or math.inf, norm)
        return norm

    def trained(self) -> dict[str, Tensor] | None:
        """See `Weights`."""
        return self._in_main((name, name, weight.detach()) for name, weight in self.tensors.items())

    def state(self, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
        """See `Weights`."""
        state = state_tensors(optimizer, self.tensors)
        return self._in_main((key, _weight_of(key), tensor) for key, tensor in state.items())

    def load_state(self, optimizer: torch.optim.Optimizer, state: dict[str, Tensor]) -> None:
        """See `Weights`."""
        rank = self._processes.rank
        pieces = {}
        for key, tensor in state.items():
            each = self._rows_each(name) if self._is_cut(name := _weight_of(key), tensor) else 0
            pieces[key] = tensor[rank * each : (rank + 1) * each].clone() if each else tensor
        load_state_tensors(optimizer, self.tensors, pieces)

    def _in_main(self, tensors: Iterable[tuple[str, str, Tensor]]) -> dict[str, Tensor]:
        """Put (key, weight, piece) together one by one; only the main process ever holds more than one whole tensor."""
        found = {}
        for key, name, piece in tensors:
            tensor = self._gathered(name, piece) if self._is_cut(name, piece) else piece
            if self._processes.is_main:
                found[key] = tensor.cpu()
        return found

    def _is_cut(self, name: str, tensor: Tensor) -> bool:
        """Whether a state of the weight `name` lies as it does; numbers, such as the count of steps, do not."""
        return name in self._sharded and tensor.ndim > 0

    def _rows_each(self, name: str) -> int:
        """Rows of a piece; the last pieces may have fewer, or none."""
        return math.ceil(self._rows[name] / self._processes.world_size)

    def _gathered(self, name: str, piece: Tensor) -> Tensor:
        device = self._processes.device
        padded = piece.new_zeros((self._rows_each(name), *piece.shape[1:]), device=device)
        padded[: len(piece)] = piece
        parts = [torch.empty_like(padded) for _ in range(self._processes.world_size)]
        dist.all_gather(parts, padded)
        return torch.cat(parts)[: self._rows[name]]


def _shard(model: nn.Module, processes: Processes) -> None:
    """Cut every decoder layer into pieces; what lies outside of them stays whole."""
    base = causal_model(model)
    decoder = decoder_of(base)
    kinds = set(base._no_split_modules or ())
    layers = [part for part in decoder.modules() if type(part).__name__ in kinds]
    if not layers:
        raise OptionError(
            f"strategy='fsdp2' is not possible: {type(base).__name__} does not say which parts are its layers.",
            "Set strategy to ddp.",
        )
    inside = {weight for layer in layers for weight in layer.parameters()}
    outside = {weight for weight in model.parameters() if weight not in inside}
    mesh = init_device_mesh(processes.device.type, (processes.world_size,))
    for layer in layers:
        sharded = fully_shard(layer, mesh=mesh)
        # The sum over processes, as everywhere here: losses are divided by the rows of the whole optimiser batch.
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)
    fully_shard(decoder, mesh=mesh, ignored_params=outside)
    # FSDP settles at its first pass which weights are trained. Without this one that might be a reference's pass, in
    # which the adapter is switched off.
    with torch.no_grad(), evaluating(model):
        decoder(input_ids=torch.zeros((1, 1), dtype=torch.int64, device=processes.device), use_cache=False)


def _weight_of(key: str) -> str:
    """The weight that a tensor of the optimiser's state belongs to."""
    return key.rpartition("/")[0]


def _plain(weight: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(cast("DTensor", weight.detach()).to_local()) if isinstance(weight, DTensor) else weight


def _gradient(weight: nn.Parameter) -> Tensor:
    assert weight.grad is not None
    return weight.grad
