"""How far a model has moved from its base: the Kullback-Leibler divergence of its next-token distributions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from quickalign.data.encode import EncodedRow
from quickalign.evaluate.scores import Progress
from quickalign.evaluate.statistics import Floats
from quickalign.evaluate.subject import Loaded
from quickalign.train.scoring.base import to_device
from quickalign.train.scoring.parts import causal_model, decoder_of, head_of

_TOKENS_AT_ONCE = 128


@torch.no_grad()
def divergence(loaded: Loaded, rows: Sequence[EncodedRow], progress: Progress) -> Floats:
    """KL(model || base) in nats, summed over the tokens of each row's first (chosen) answer; [rows].

    It is exact: at every token of the answer the sum goes over the whole vocabulary. A sampled estimate would need
    answers of the model itself and many of them (Schulman 2020, "Approximating KL divergence").
    """
    found = []
    for index, row in enumerate(rows):
        found.append(_of_row(loaded, row))
        progress("divergence from the base", index + 1, len(rows))
    return np.array(found)


def _of_row(loaded: Loaded, row: EncodedRow) -> float:
    answer = row.answers[0]
    ids = to_device(np.concatenate([row.prompt, answer]), loaded.device)
    first, last = len(row.prompt) - 1, len(ids) - 1
    own = _hidden(loaded.model, ids)[first:last]
    with loaded.as_base() as base:
        other = _hidden(base, ids)[first:last]
    total = 0.0
    for start in range(0, last - first, _TOKENS_AT_ONCE):
        part = slice(start, start + _TOKENS_AT_ONCE)
        log_p = _log_probs(loaded.model, own[part])
        with loaded.as_base() as base:
            log_q = _log_probs(base, other[part])
        total += float((log_p.exp() * (log_p - log_q)).sum(-1).double().sum())
    return total


def _hidden(model: nn.Module, ids: Tensor) -> Tensor:
    """[tokens, hidden] final hidden states of one sequence."""
    decoder = decoder_of(causal_model(model))
    states: Tensor = decoder(input_ids=ids[None], use_cache=False).last_hidden_state
    return states[0]


def _log_probs(model: nn.Module, hidden: Tensor) -> Tensor:
    return head_of(causal_model(model)).logits(hidden).log_softmax(-1)
