"""A key-value cache whose rows come and go: answers of different lengths computed as one batch.

Rows end at the same place and begin at different ones: what is in front of a shorter row is masked out. A row that
joins is put beside the others once; a row that leaves takes its place with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

_SLACK = 128
"""Places that a layer reserves ahead, so that not every token copies the whole cache."""


class _GrowingLayer(DynamicLayer):
    """The library's layer that grows, with room reserved ahead."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._room: tuple[Tensor, Tensor] | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Append [rows, heads, new, size] keys and values; returns all there are."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        used = self.get_seq_length()
        end = used + key_states.shape[-2]
        if self._room is None or self._room[0].shape[-2] < end:
            self._room = (self._grown(self.keys, key_states, used), self._grown(self.values, value_states, used))
        keys, values = self._room
        keys[:, :, used:end] = key_states
        values[:, :, used:end] = value_states
        self.keys, self.values = keys[:, :, :end], values[:, :, :end]
        return self.keys, self.values

    @property
    def held(self) -> tuple[Tensor, Tensor]:
        """The keys and values."""
        assert self.keys is not None
        assert self.values is not None
        return self.keys, self.values

    def set(self, keys: Tensor, values: Tensor) -> None:
        """Hold these keys and values from now on."""
        if not self.is_initialized:
            self.lazy_initialization(keys, values)
        self.keys, self.values, self._room = keys, values, None

    @staticmethod
    def _grown(old: Tensor | None, new: Tensor, used: int) -> Tensor:
        rows, heads, count, size = new.shape
        room = new.new_zeros(rows, heads, used + count + _SLACK, size)
        if used and old is not None:
            room[:, :, :used] = old
        return room


class Rows:
    """The cache of some rows, and how many tokens each of them holds."""

    def __init__(self, model: nn.Module, layers: int) -> None:
        self._model = model
        self._layers = layers
        self._device = next(model.parameters()).device
        self.lengths: list[int] = []
        self._cache = self._empty()

    def _empty(self) -> DynamicCache:
        cache = DynamicCache()
        cache.layers = [_GrowingLayer() for _ in range(self._layers)]
        return cache

    def _layers_of_cache(self) -> list[_GrowingLayer]:
        return [layer for layer in self._cache.layers if isinstance(layer, _GrowingLayer)]

    def feed(self, tokens: Sequence[Sequence[int]], logits_to_keep: int) -> Tensor:
        """Append the same number of tokens to every row.

        Args:
            tokens: [rows][new] ids; a cache without rows gets as many as there are here.
            logits_to_keep: for how many of the last new places logits are made.

        Returns:
            [rows, logits_to_keep, vocabulary] logits.
        """
        if not self.lengths:
            self.lengths = [0] * len(tokens)
        new, width = len(tokens[0]), max(self.lengths)
        lengths = torch.tensor(self.lengths, device=self._device)
        places = torch.arange(width + new, device=self._device)
        mask = (places[None] >= (width - lengths)[:, None]).long()
        output = self._model(
            input_ids=torch.tensor([list(row) for row in tokens], device=self._device),
            attention_mask=mask,
            position_ids=lengths[:, None] + torch.arange(new, device=self._device)[None],
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=logits_to_keep,
        )
        self.lengths = [length + new for length in self.lengths]
        logits: Tensor = output.logits
        return logits

    def take_over(self, other: Rows, copies: int) -> None:
        """Put the only row of `other` behind the rows here, `copies` times."""
        length = other.lengths[0]
        width = max([length, *self.lengths])
        for mine, theirs in zip(self._layers_of_cache(), other._layers_of_cache(), strict=True):
            added = [_led_by_nothing(tensor, width).repeat(copies, 1, 1, 1) for tensor in theirs.held]
            if self.lengths:
                old = [_led_by_nothing(tensor, width) for tensor in mine.held]
                added = [torch.cat(pair) for pair in zip(old, added, strict=True)]
            mine.set(added[0], added[1])
        self.lengths += [length] * copies

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these."""
        if len(rows) == len(self.lengths):
            return
        if not rows:
            self.lengths, self._cache = [], self._empty()
            return
        width = max(self.lengths)
        self.lengths = [self.lengths[row] for row in rows]
        unused = width - max(self.lengths)
        chosen = torch.tensor(rows, device=self._device)
        for layer in self._layers_of_cache():
            keys, values = layer.held
            layer.set(keys[chosen, :, unused:], values[chosen, :, unused:])


def _led_by_nothing(tensor: Tensor, width: int) -> Tensor:
    """[rows, heads, places, size] with empty places in front, `width` in all."""
    return nn.functional.pad(tensor, (0, 0, width - tensor.shape[-2], 0))
