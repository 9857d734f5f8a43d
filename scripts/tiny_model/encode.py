"""Turns conversations into token ids with loss weights, and cuts them into batches of about equal token count."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer

from scripts.tiny_model.conversations import Message
from scripts.tiny_model.tokenizer import END, START, token_id

# What users type is worth a little: it teaches the words of prompts without spending the model on predicting them.
WEIGHTS = {"system": 0.0, "user": 0.1, "assistant": 1.0}


@dataclass(frozen=True)
class Encoded:
    """Token ids of one conversation and, for each, the weight of its prediction in the loss."""

    ids: list[int]
    weights: list[float]


@dataclass(frozen=True)
class Batch:
    """``ids`` and ``weights``, both of shape (rows, longest); padding has weight 0 and comes after the text."""

    ids: torch.Tensor
    weights: torch.Tensor


class Encoder:
    """Encodes each distinct message once; the small world repeats itself, so this makes encoding nearly free."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._start = token_id(tokenizer, START)
        self._end = token_id(tokenizer, END)
        self._cache: dict[str, list[int]] = {}

    def _ids(self, text: str) -> list[int]:
        if text not in self._cache:
            self._cache[text] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return self._cache[text]

    def conversation(self, messages: Sequence[Message]) -> Encoded:
        """Encode as the chat template renders. ``<|im_end|>`` counts to the message, the line feed after it not."""
        ids: list[int] = []
        weights: list[float] = []
        for message in messages:
            head = [self._start, *self._ids(message["role"] + "\n")]
            body = [*self._ids(message["content"]), self._end]
            tail = self._ids("\n")
            ids += [*head, *body, *tail]
            weights += [0.0] * len(head) + [WEIGHTS[message["role"]]] * len(body) + [0.0] * len(tail)
        return Encoded(ids, weights)


def batches(rows: Sequence[Encoded], tokens: int, pad: int, rng: random.Random) -> Iterator[Batch]:
    """Yield padded batches of at most ``tokens`` positions.

    Rows are sorted by length within a window of some batches only, so padding is small and the order stays random.
    """
    order = list(range(len(rows)))
    rng.shuffle(order)
    window = 32 * max(1, tokens // 80)
    for first in range(0, len(order), window):
        chosen = sorted((rows[i] for i in order[first : first + window]), key=lambda row: len(row.ids))
        groups: list[list[Encoded]] = [[]]
        for row in chosen:
            if groups[-1] and (len(groups[-1]) + 1) * _rounded(len(row.ids)) > tokens:
                groups.append([])
            groups[-1].append(row)
        rng.shuffle(groups)
        yield from (_pad(group, pad) for group in groups)


def _rounded(length: int) -> int:
    """Round up to a multiple of 8: few distinct shapes let the CPU kernels be compiled once and found again."""
    return -(-length // 8) * 8


def _pad(group: Sequence[Encoded], pad: int) -> Batch:
    longest = _rounded(max(len(row.ids) for row in group))
    ids = torch.full((len(group), longest), pad, dtype=torch.long)
    weights = torch.zeros((len(group), longest))
    for index, row in enumerate(group):
        ids[index, : len(row.ids)] = torch.tensor(row.ids)
        weights[index, : len(row.ids)] = torch.tensor(row.weights)
    return Batch(ids, weights)
