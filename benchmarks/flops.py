"""Floating-point operations that a LoRA DPO step needs, and how many the chip does at its best.

Model FLOPs, as in Chowdhery et al. 2022 (PaLM, appendix B): what the mathematics of the packed step asks for, with a
multiply-add as two, and nothing that is recomputed. A frozen matrix costs one product forward and one backward, because
its own gradient is never made; the reference costs the forward pass again, where it is live.
"""

import time
from collections.abc import Sequence

import numpy as np
import torch

from quickalign.data.encode import EncodedPair
from quickalign.data.pack import pack
from quickalign.hub.shape import ModelShape

_CEILING_ROUNDS = 20


def step_flops(shape: ModelShape, rows: Sequence[EncodedPair], token_budget: int, adapter: int, *, live: bool) -> int:
    """Model FLOPs of one optimiser step on `rows` with LoRA on all linear layers.

    Args:
        shape: the model's dimensions.
        rows: the optimiser batch.
        token_budget: tokens per packed micro-batch; only what is shared depends on it.
        adapter: parameters of the adapter.
        live: whether the reference is computed in the step.
    """
    sequences = pack(rows, token_budget)
    tokens = sum(len(sequence.ids) for sequence in sequences)
    places = sum(len(set(sequence.sources.tolist())) for sequence in sequences)
    # Pairs of a query and a key that it sees: a token sees its own text up to itself.
    seen = sum(int((sequence.positions + 1).sum()) for sequence in sequences)
    seen_last = sum(int((sequence.positions[np.unique(sequence.sources)] + 1).sum()) for sequence in sequences)
    # In the last layer, all but keys and values is for scored places only.
    width = shape.heads * shape.head_dim
    spared = (3 * shape.intermediate + 2 * width) * shape.hidden * (tokens - places)
    linear = 2 * (shape.linear_parameters * tokens - spared)
    head = 2 * shape.vocab * shape.hidden * places
    attention = 4 * width * ((shape.layers - 1) * seen + seen_last)
    forward = linear + head + attention
    policy = 2 * (linear + head) + 3 * (attention + 2 * adapter * tokens)
    return policy + (forward if live else 0)


def matmul_ceiling(device: torch.device, dtype: torch.dtype, size: int) -> float:
    """FLOP/s of the best of some products of square matrices of `size`: what this chip reaches, not its data sheet."""
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(_CEILING_ROUNDS):
        _wait(device)
        began = time.perf_counter()
        torch.mm(left, right)
        _wait(device)
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
