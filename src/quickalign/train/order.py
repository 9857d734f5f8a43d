"""Which rows make up which optimiser batch: a pure function of the seed and the step.

Nothing has to be saved to resume at any step, and the batch does not depend on how many processes share it.
"""

import math
from functools import lru_cache

import numpy as np

from quickalign.core.hyperparameters import Hyperparameters


class BatchOrder:
    """Cuts `rows` row numbers into optimiser batches, shuffled anew in every epoch.

    Args:
        rows: number of training rows.
        batch_rows: rows per optimiser batch over all processes; the last batch of an epoch may be smaller.
        seed: seed of the shuffling.
    """

    def __init__(self, rows: int, batch_rows: int, seed: int) -> None:
        self.rows = rows
        self.batch_rows = batch_rows
        self.seed = seed
        self.steps_per_epoch = math.ceil(rows / batch_rows)

    def total_steps(self, parameters: Hyperparameters) -> int:
        """Optimiser steps of the whole run."""
        steps = self.steps_per_epoch * parameters.num_train_epochs
        return min(steps, parameters.max_steps) if parameters.max_steps else steps

    def batch(self, step: int) -> list[int]:
        """Row numbers (from 0) of optimiser step `step` (from 0)."""
        epoch, position = divmod(step, self.steps_per_epoch)
        start = position * self.batch_rows
        return [int(i) for i in _shuffled(self.rows, self.seed, epoch)[start : start + self.batch_rows]]

    def share(self, step: int, rank: int, world_size: int) -> list[int]:
        """The rows of process `rank`; it may be empty in the last batch of an epoch."""
        return self.batch(step)[rank::world_size]


@lru_cache(maxsize=2)
def _shuffled(rows: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(rows)
