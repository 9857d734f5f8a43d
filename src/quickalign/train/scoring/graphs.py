"""Passes of packed micro-batches as CUDA graphs: all their kernels are launched at once.

A forward and a backward pass of a small model are thousands of kernels of a few microseconds each, and the host takes
longer to launch one than the GPU to run it. Here a pass is recorded once for each size of a micro-batch and replayed
for every other one of that size: its numbers are copied to where the recorded kernels read them (NVIDIA's CUDA graphs,
`torch.cuda.graph`). The kernels are those of the passes as they are, so the results are too. `PackedScorer` fills
micro-batches up to a few sizes.

Recorded passes take their memory from a pool of their own, in which those that never run at the same time share it. So
between a forward pass and its backward pass no other one may run; going backward is refused then.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from quickalign.core.errors import first_line
from quickalign.data.encode import EncodedRow
from quickalign.train.scoring.base import AnswerLogps, MicroBatch
from quickalign.train.scoring.packed import PackedScorer, moved
from quickalign.train.scoring.reference import base_alone

# Does some work, or only records it, and returns what does it again.
Record: TypeAlias = Callable[[Callable[[], None]], Callable[[], Any]]
# Recorded passes that are kept, the least recently used go first. One of 24 layers takes 4 MB beside PyTorch's memory.
# hh-rlhf rows, 8 pairs a step, have some 50 sizes at `seq_length` 512, each with a pass of policy and reference.
KEPT = 128


class GraphScorer:
    """Scores as `packed` does, by recorded passes of `model`.

    Before the first pass of a kind is recorded it runs once as it is: kernels are compiled and libraries set up in it.

    Args:
        packed: what cuts and scores.
        model: the model with its adapter; other models are scored as they are. Its dropout must be off.
        record: how to record. Where that fails, passes run as they are from then on.
        tell: is told the reason first, and may raise an error instead.
    """

    def __init__(
        self, packed: PackedScorer, model: nn.Module, record: Record, tell: Callable[[str], None] = lambda reason: None
    ) -> None:
        self._packed = packed
        self._model = model
        self._record: Record | None = record
        self._tell = tell
        self._gradients = Gradients([weight for weight in model.parameters() if weight.requires_grad])
        self._counter = PassCounter()
        self._known: set[tuple[bool, bool]] = set()
        self._passes: OrderedDict[tuple[int, ...], Replay | TrainedReplay] = OrderedDict()

    def cut(self, rows: Sequence[EncodedRow]) -> list[MicroBatch]:
        """See `Scorer`."""
        return self._packed.cut(rows)

    def logps(self, model: nn.Module, micro: MicroBatch, *, adapter: bool = True) -> AnswerLogps:
        """See `Scorer`."""
        replay = self._replay(micro, adapter=adapter) if model is self._model else None
        if replay is None:
            return self._packed.logps(model, micro, adapter=adapter)
        return micro.per_answer(replay(micro))

    def _replay(self, micro: MicroBatch, *, adapter: bool) -> Replay | TrainedReplay | None:
        """The recorded pass for micro-batches of the size of `micro`; None where passes cannot be recorded."""
        trains = adapter and torch.is_grad_enabled()
        size = (len(micro.parts[0]), len(micro.targets), adapter, trains)
        if self._record and size not in self._passes:
            try:
                self._passes[size] = self._recorded(self._record, micro, adapter=adapter, trains=trains)
            except RuntimeError as error:
                self._give_up(error)
        if not self._record:
            return None
        self._passes.move_to_end(size)
        if len(self._passes) > KEPT:
            self._passes.popitem(last=False)
        return self._passes[size]

    def _give_up(self, error: RuntimeError) -> None:
        self._record = None
        self._passes.clear()
        self._tell(first_line(error))

    def _recorded(self, record: Record, micro: MicroBatch, *, adapter: bool, trains: bool) -> Replay | TrainedReplay:
        held = moved(micro)

        def score() -> Tensor:
            with torch.set_grad_enabled(trains), nullcontext() if adapter else base_alone(self._model):
                return self._packed.token_logps(self._model, held)

        if (adapter, trains) not in self._known:
            self._known.add((adapter, trains))
            found = score()
            if trains:
                with _this_thread():
                    torch.autograd.grad(found, self._gradients.weights, torch.zeros_like(found))
            del found
        if trains:
            return TrainedReplay(score, held, self._counter, record, self._gradients)
        return Replay(score, held, self._counter, record)


class PassCounter:
    """How many recorded passes have run: only the last one can go backward."""

    last = 0

    def next(self) -> int:
        """The number of a pass that runs now."""
        self.last += 1
        return self.last


class Gradients:
    """Where recorded backward passes add the gradients of `weights`: the same memory in every step."""

    def __init__(self, weights: Sequence[nn.Parameter]) -> None:
        self.weights = weights
        self.sums: list[Tensor] = []

    def attach(self) -> None:
        """Let the weights' gradients be in that memory, whatever they are so far."""
        if not self.sums:
            self.sums = [torch.zeros_like(weight) for weight in self.weights]
        empty = []
        for weight, total in zip(self.weights, self.sums, strict=True):
            if weight.grad is total:
                continue
            if weight.grad is None:
                empty.append(total)
            else:
                total.copy_(weight.grad)
            weight.grad = total
        if empty:
            torch._foreach_zero_(empty)


class Replay:
    """A recorded pass without gradients; `score` reads the tensors of `held`."""

    def __init__(self, score: Callable[[], Tensor], held: MicroBatch, counter: PassCounter, record: Record) -> None:
        self._score = score
        self._held = held
        self._counter = counter
        self._again = record(self._run)

    def __call__(self, micro: MicroBatch) -> Tensor:
        """The log-probs of the scored tokens of `micro`, a micro-batch of the recorded size."""
        self._counter.next()
        _take(self._held, micro)
        self._again()
        return self._found.clone()

    def _run(self) -> None:
        self._found = self._score()


class TrainedReplay:
    """A recorded forward pass and its backward pass, which adds to `gradients`."""

    def __init__(
        self, score: Callable[[], Tensor], held: MicroBatch, counter: PassCounter, record: Record, gradients: Gradients
    ) -> None:
        self._score = score
        self._held = held
        self._counter = counter
        self._gradients = gradients
        self._start = torch.zeros((), device=held.targets.device, requires_grad=True)
        gradients.attach()
        self._forward_again = record(self._run_forward)
        self._upstream = torch.zeros_like(self._found)
        self._backward_again = record(self._run_backward)

    def __call__(self, micro: MicroBatch) -> Tensor:
        """As `Replay`; differentiable, once, until the next recorded pass runs."""
        return _Replayed.apply(self._start, self, micro)  # type: ignore[no-any-return, no-untyped-call]

    def forward(self, micro: MicroBatch) -> tuple[Tensor, int]:
        """The log-probs, and which pass this was."""
        self._gradients.attach()
        number = self._counter.next()
        _take(self._held, micro)
        self._forward_again()
        return self._found.detach().clone(), number

    def backward(self, upstream: Tensor, number: int) -> None:
        """Go back from the pass of that number.

        Raises:
            RuntimeError: another one ran since.
        """
        if number != self._counter.last:
            message = "Only the last pass that was replayed can go backward: others have used its memory since."
            raise RuntimeError(message)
        self._upstream.copy_(upstream)
        self._backward_again()

    def _run_forward(self) -> None:
        self._found = self._score()

    def _run_backward(self) -> None:
        # Each gradient is added where it belongs as soon as it is found: all of them at once would be as much again.
        with _this_thread():
            torch.autograd.backward(self._found, self._upstream, inputs=self._gradients.weights)
        self._found = self._found.detach()


class _Replayed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, start: Tensor, replay: TrainedReplay, micro: MicroBatch) -> Tensor:
        del start  # it alone requires a gradient, so that autograd comes back here
        found, ctx.number = replay.forward(micro)
        ctx.replay = replay
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None, None]:
        ctx.replay.backward(grad, ctx.number)
        return None, None, None


def _this_thread() -> AbstractContextManager[Any]:
    """Autograd works in this thread: another one would get a workspace of its own from cuBLAS, 32 MiB on a Hopper."""
    return torch.autograd.set_multithreading_enabled(False)


def _take(held: MicroBatch, micro: MicroBatch) -> None:
    assert held.storage is not None
    assert micro.storage is not None
    held.storage.copy_(micro.storage)


class CudaRecord:
    """Records on the current CUDA device."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream()

    def __call__(self, work: Callable[[], None]) -> Callable[[], Any]:
        """See `Record`."""
        graph = torch.cuda.CUDAGraph()
        # cuBLAS takes a workspace for each stream; that of the passes which ran as they are is not needed any more.
        torch._C._cuda_clearCublasWorkspaces()
        # relaxed: a kernel that runs for the first time may have to be loaded
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="relaxed"):
            work()
        return graph.replay
