"""How much a run computes: optimiser steps, micro-batches, tokens, and its largest micro-batch."""

from dataclasses import dataclass

import numpy as np

from quickalign.core.hyperparameters import Hyperparameters
from quickalign.train.demand import Micro
from quickalign.train.order import BatchOrder

# So many optimiser batches are cut for real; where there are more, their mean stands for all.
_PACKED_SAMPLE = 64
_PADDED_SAMPLE = 4096


@dataclass(frozen=True, slots=True)
class Work:
    """The work of a run. Tokens and micro-batches are those of the first epoch.

    Attributes:
        steps: optimiser steps of the whole run.
        micro_batches_per_step: mean per process.
        tokens_per_epoch: tokens of all rows, the prompt counted once a row.
        computed_tokens_per_epoch: tokens that go through the model, with repeated prompts and padding.
        largest: the largest micro-batch.
    """

    rows: int
    rows_per_step: int
    steps: int
    micro_batches_per_step: float
    tokens_per_epoch: int
    computed_tokens_per_epoch: int
    largest: Micro


def measure_work(
    lengths: np.ndarray, parameters: Hyperparameters, world_size: int, token_budget: int, beginning: int = 0
) -> Work:
    """The work of training on rows of `lengths`.

    Args:
        lengths: [rows, 2 or 3] tokens of the prompt and of each answer.
        parameters: the run's options.
        world_size: processes that share every optimiser batch.
        token_budget: tokens per packed micro-batch; 0 for padded rows.
        beginning: tokens that all prompts have in common from their start; a packed micro-batch holds them once.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    order = BatchOrder(len(lengths), parameters.rows_per_step * world_size, parameters.seed)
    if token_budget:
        micros, computed, largest = _packed(lengths, order, world_size, token_budget, beginning)
    else:
        micros, computed, largest = _padded(lengths, parameters, order, world_size)
    return Work(
        rows=len(lengths),
        rows_per_step=order.batch_rows,
        steps=order.total_steps(parameters),
        micro_batches_per_step=micros,
        tokens_per_epoch=int(lengths.sum()),
        computed_tokens_per_epoch=computed,
        largest=largest,
    )


def clip_lengths(lengths: np.ndarray, seq_length: int) -> np.ndarray:
    """Lengths after cutting to `seq_length`: prompts lose tokens first, then answers."""
    prompt, answers = lengths[:, 0], lengths[:, 1:]
    room = np.maximum(seq_length - answers.max(axis=1), 0)
    kept = np.minimum(prompt, room)
    return np.column_stack([kept, np.minimum(answers, (seq_length - kept)[:, None])])


def row_sizes(lengths: np.ndarray) -> np.ndarray:
    """[rows] tokens of a row in a packed sequence: its prompt once, and its answers without their last tokens."""
    sizes: np.ndarray = lengths[:, 0] + (lengths[:, 1:] - 1).sum(axis=1)
    return sizes


def _packed(
    lengths: np.ndarray, order: BatchOrder, world_size: int, token_budget: int, beginning: int
) -> tuple[float, int, Micro]:
    """As `data.pack`, of what rows have in common only what all have."""
    beginning = min(beginning, int(lengths[:, 0].min()))
    sizes, room = row_sizes(lengths) - beginning, max(token_budget - beginning, 0)
    answers = lengths[:, 1:].sum(axis=1)
    sampled = range(min(order.steps_per_epoch, _PACKED_SAMPLE))
    shares = [sizes[order.share(step, 0, world_size)] for step in sampled]
    micros = float(np.mean([_bins(share, room) for share in shares]))
    computed = int(sizes.sum()) + round(micros * order.steps_per_epoch * world_size * beginning)
    # The budget fills up where optimiser batches hold more than it.
    full = max(int(np.sort(sizes)[-order.batch_rows // world_size :].sum()), 1)
    rest = max(int(sizes.max()), min(room, full))
    scored = max(int(answers.max()), int(rest * answers.sum() / max(sizes.sum(), 1)))
    return micros, computed, Micro(rest + beginning, min(rest + beginning, scored))


def _bins(sizes: np.ndarray, room: int) -> int:
    """How many bins of `room` first-fit by falling size needs; a larger item gets its own."""
    rooms: list[int] = []
    for size in sorted(sizes.tolist(), reverse=True):
        place = next((i for i, left in enumerate(rooms) if left >= size), None)
        if place is None:
            rooms.append(room - size)
        else:
            rooms[place] -= size
    return len(rooms)


def _padded(
    lengths: np.ndarray, parameters: Hyperparameters, order: BatchOrder, world_size: int
) -> tuple[float, int, Micro]:
    """Every answer is a row with its prompt, padded to the longest of its micro-batch."""
    batch, answers = parameters.per_device_train_batch_size, lengths.shape[1] - 1
    widths = lengths[:, 0] + lengths[:, 1:].max(axis=1)
    computed = micros = 0
    sampled = range(min(order.steps_per_epoch, _PADDED_SAMPLE))
    for step in sampled:
        for rank in range(world_size):
            share = widths[order.share(step, rank, world_size)]
            starts = np.arange(0, len(share), batch)
            if len(starts):
                counts = np.diff(np.append(starts, len(share)))
                computed += int((np.maximum.reduceat(share, starts) * counts).sum()) * answers
                micros += len(starts)
    scored = np.sort(lengths[:, 1:].sum(axis=1))[-batch:].sum()
    width = int(widths.max())
    largest = Micro(min(batch, len(lengths)) * answers * width, int(scored), width)
    return micros / (len(sampled) * world_size), computed * order.steps_per_epoch // len(sampled), largest
