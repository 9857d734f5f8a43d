"""The engine that is always there: the model's own forward pass of transformers, batched continuously.

The library's continuous batching draws without a seed and knows no penalties, biases or likeliest tokens, so rows and
their caches are kept here (`rows`), and each row chooses its tokens by itself (`quickalign.serve.sampling`). A step
computes a bounded part of the prompts that wait, then one token for every row.
"""

from __future__ import annotations

import gc
from collections import deque
from dataclasses import dataclass, field

import torch
from torch import nn

from quickalign.serve.engine import EngineInfo, Generation, TokenOut, TokenScore
from quickalign.serve.engines.rows import Rows
from quickalign.serve.sampling import Chosen, Sampler, choose_all, prompt_scores

_PROMPT_TOKENS_A_STEP = 512
_SCORED_TOKENS_A_STEP = 64
"""Places of a prompt whose whole rows of logits are made at once where its log-probs are asked for."""


@dataclass(slots=True)
class _Row:
    """One choice in the making; `room` is how many tokens it may still get."""

    number: int
    choice: int
    sampler: Sampler
    stop: frozenset[int]
    room: int
    last: int = 0


@dataclass(slots=True)
class _Prompt:
    """A prompt on its way through the model."""

    number: int
    generation: Generation
    rows: Rows
    done: int = 0
    scores: list[TokenScore] = field(default_factory=list)
    dropped: set[int] = field(default_factory=set)

    @property
    def choices(self) -> list[int]:
        """The numbers of the choices that are still wanted."""
        first = self.generation.first
        return [c for c in range(first, first + self.generation.choices) if c not in self.dropped]


class TransformersCore:
    """Answers token ids with a loaded model.

    Args:
        model: a causal language model of transformers, with an adapter beside its weights or not.
        info: what is told about it; its `slots` and `context` bound the work.
        cache_tokens: the most tokens whose keys and values are held at once.
    """

    def __init__(self, model: nn.Module, info: EngineInfo, *, layers: int, cache_tokens: int) -> None:
        self.info = info
        self._model = model.eval()
        self._layers = layers
        self._cache_tokens = cache_tokens
        self._waiting: deque[_Prompt] = deque()
        self._rows: list[_Row] = []
        self._cache = Rows(model, layers)

    def add(self, number: int, generation: Generation) -> None:
        """Take a generation in."""
        self._waiting.append(_Prompt(number, generation, Rows(self._model, self._layers)))

    def cancel(self, number: int, choice: int | None) -> None:
        """Drop one choice of a request, or all of them."""
        for prompt in self._waiting:
            if prompt.number == number:
                prompt.dropped |= {choice} if choice is not None else set(prompt.choices)
        self._waiting = deque(prompt for prompt in self._waiting if prompt.choices)
        self._keep([row.number != number or choice not in (None, row.choice) for row in self._rows])

    def check(self) -> None:
        """Nothing: what it needs is in this process."""

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return not self._waiting and not self._rows

    def abandon(self, reason: str) -> list[tuple[int, TokenOut]]:
        """Give every open choice up."""
        open_choices = [(row.number, row.choice) for row in self._rows]
        open_choices += [(prompt.number, choice) for prompt in self._waiting for choice in prompt.choices]
        self._rows, self._cache = [], Rows(self._model, self._layers)
        self._waiting.clear()
        gc.collect()
        return [(number, TokenOut(choice, None, error=reason)) for number, choice in open_choices]

    @torch.inference_mode()
    def step(self) -> list[tuple[int, TokenOut]]:
        """Read a part of the prompts that wait, and make one token for every row."""
        out = self._read_prompts()
        if self._rows:
            logits = self._cache.feed([[row.last] for row in self._rows], 1)[:, -1]
            chosen = choose_all(logits, [row.sampler for row in self._rows])
            out += [(row.number, self._taken(row, one)) for row, one in zip(self._rows, chosen, strict=True)]
            self._keep([told.finish is None for _, told in out[len(out) - len(self._rows) :]])
        return out

    def _read_prompts(self) -> list[tuple[int, TokenOut]]:
        out: list[tuple[int, TokenOut]] = []
        left = _PROMPT_TOKENS_A_STEP
        while left > 0 and self._waiting and self._fits(self._waiting[0]):
            prompt = self._waiting[0]
            left -= self._read_part(prompt, left, out)
        return out

    def _fits(self, prompt: _Prompt) -> bool:
        """Whether the choices of `prompt` may join the rows now. An empty batch takes any."""
        if not self._rows:
            return True
        choices = len(prompt.choices)
        if len(self._rows) + choices > self.info.slots:
            return False
        held = [length + row.room for length, row in zip(self._cache.lengths, self._rows, strict=True)]
        longest = max([*held, len(prompt.generation.prompt) + prompt.generation.sampling.max_tokens])
        return longest * (len(self._rows) + choices) <= self._cache_tokens

    def _read_part(self, prompt: _Prompt, most: int, out: list[tuple[int, TokenOut]]) -> int:
        """Feed up to `most` tokens of a prompt; its rows join the batch with the last of them."""
        ids, top = prompt.generation.prompt, prompt.generation.sampling.prompt_logprobs
        count = min(most, len(ids) - prompt.done, most if top is None else _SCORED_TOKENS_A_STEP)
        part = ids[prompt.done : prompt.done + count]
        logits = prompt.rows.feed([part], 1 if top is None else count)[0]
        if top is not None:
            targets = ids[prompt.done + 1 : prompt.done + count + 1]
            prompt.scores += prompt_scores(logits[: len(targets)], targets, top)
        prompt.done += count
        if prompt.done == len(ids):
            self._waiting.popleft()
            out += self._start_rows(prompt, logits[-1:])
        return count

    def _start_rows(self, prompt: _Prompt, logits: torch.Tensor) -> list[tuple[int, TokenOut]]:
        generation, sampling = prompt.generation, prompt.generation.sampling
        scores = tuple(prompt.scores) if sampling.prompt_logprobs is not None else None
        if sampling.max_tokens == 0:
            return [(prompt.number, TokenOut(c, None, finish="length", prompt=scores)) for c in prompt.choices]
        rows = [
            _Row(
                prompt.number,
                choice,
                Sampler(sampling, generation.prompt, choice - generation.first),
                sampling.stop,
                sampling.max_tokens,
            )
            for choice in prompt.choices
        ]
        chosen = choose_all(logits.expand(len(rows), -1), [row.sampler for row in rows])
        told = [self._taken(row, one, scores) for row, one in zip(rows, chosen, strict=True)]
        going = [row for row, one in zip(rows, told, strict=True) if one.finish is None]
        if going:
            self._cache.take_over(prompt.rows, len(going))
            self._rows += going
        return [(prompt.number, one) for one in told]

    @staticmethod
    def _taken(row: _Row, chosen: Chosen, prompt: tuple[TokenScore, ...] | None = None) -> TokenOut:
        row.last = chosen.token
        row.room -= 1
        finish = "stop" if chosen.token in row.stop else "length" if row.room == 0 else None
        return TokenOut(row.choice, chosen.token, chosen.score, finish, prompt)  # type: ignore[arg-type]

    def _keep(self, wanted: list[bool]) -> None:
        kept = [index for index, keep in enumerate(wanted) if keep]
        if len(kept) < len(wanted):
            self._rows = [self._rows[index] for index in kept]
            self._cache.keep(kept)
