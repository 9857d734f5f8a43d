"""What one process of the training benchmark is asked for, its clock, and what its side gives back."""

import time
from dataclasses import dataclass
from itertools import pairwise

import torch

from quickalign.train.device import reset_peak

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Job:
    """What one process does.

    Attributes:
        side: `ours` or `trl`.
        model: folder of the model.
        data: see `dpo_rows.make_rows`.
        seq_length: longest prompt plus answer.
        rows_per_step: pairs per optimiser step.
        steps: optimiser steps of an epoch. The last epoch is measured, so that both sides, whatever their order, are
            measured on the same rows.
        epochs: 2 warms up on the same rows first; 1 for a sweep, and where a step takes so long that warming up, which
            is a matter of milliseconds, does not show.
        lora_dim: rank of the adapter on all linear layers.
        precision: bf16 or fp32 weights.
        reference: `live`, or `cached` (computed beforehand, not counted).
        quantization: `none`, `4bit` or `8bit`.
        token_budget: ours: tokens per micro-batch; 0 for what the planner chooses here.
        batch: TRL: rows per micro-batch.
        autocast: TRL: its bf16 option, mixed precision on top of the bf16 weights.
        checkpointing: recompute activations; ours: False leaves it to the planner.
        grouped: TRL: batches of similar lengths.
        threads: threads of torch; 0 for its own choice.
    """

    side: str
    model: str
    data: str = "hh-like"
    seq_length: int = 128
    rows_per_step: int = 8
    steps: int = 3
    epochs: int = 2
    lora_dim: int = 32
    precision: str = "bf16"
    reference: str = "live"
    quantization: str = "none"
    token_budget: int = 0
    batch: int = 1
    autocast: bool = False
    checkpointing: bool = False
    grouped: bool = False
    threads: int = 0


@dataclass(frozen=True)
class Trained:
    """What a side gives back: the losses, the bytes of the base, and as in `Measured`."""

    losses: list[float]
    base_bytes: int
    token_budget: int = 0
    flops: int = 0


class Clock:
    """Notes the time of every step."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []

    def tick(self) -> None:
        """A step begins or ends."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        if not self.wall:
            reset_peak(DEVICE)
        self.wall.append(time.perf_counter())
        self.cpu.append(time.process_time())

    def spans(self, times: list[float], epochs: int) -> list[float]:
        """Seconds of each step of the last epoch."""
        spans = [end - start for start, end in pairwise(times)]
        return spans[len(spans) // epochs * (epochs - 1) :]
