"""From logits to a token: penalties, bias, temperature, truncation, and a draw with each row's own random numbers.

Every row has its own generator, so that an answer with a seed does not depend on what is computed beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from quickalign.core.errors import RunError
from quickalign.serve.engine import Sampling, TokenScore
from quickalign.train.decode import LEAST_TEMPERATURE

_FEW = 1024
"""How many candidates are sorted before all are: sorting 150,000 logits takes milliseconds, and few are likely."""

_SEED_STRIDE = 0x9E3779B97F4A7C15
_SEEDS = 1 << 64


@dataclass(frozen=True, slots=True)
class Chosen:
    """A chosen token, with its score where asked for."""

    token: int
    score: TokenScore | None


class Sampler:
    """Chooses the tokens of one choice.

    Args:
        sampling: how.
        prompt: the prompt's ids, which the repetition penalty counts.
        index: which choice of its prompt this is, from 0.
    """

    def __init__(self, sampling: Sampling, prompt: Sequence[int], index: int) -> None:
        self._how = sampling
        self._random = torch.Generator().manual_seed((sampling.seed + index * _SEED_STRIDE) % _SEEDS)
        self._counts: Counter[int] = Counter()
        self._seen = set(prompt) if sampling.repetition != 1 else set()
        self._bias_ids = torch.tensor([token for token, _ in sampling.bias], dtype=torch.long)
        self._bias = torch.tensor([value for _, value in sampling.bias], dtype=torch.float32)

    @property
    def plain(self) -> bool:
        """Whether the likeliest token is taken as it is, without a score, so that a whole batch is one argmax."""
        how = self._how
        return how.temperature == 0 and how.logprobs is None and not self._changes_logits()

    def choose(self, logits: Tensor) -> Chosen:
        """[vocabulary] fp32 logits -> the next token."""
        changed = self._changed(logits) if self._changes_logits() else logits
        token = int(changed.argmax()) if self._how.temperature == 0 else self._draw(changed)
        self.take(token)
        score = None if self._how.logprobs is None else score_of(logits, token, self._how.logprobs)
        return Chosen(token, score)

    def take(self, token: int) -> None:
        """Count `token` as part of the answer."""
        self._counts[token] += 1
        if self._how.repetition != 1:
            self._seen.add(token)

    def _changes_logits(self) -> bool:
        how = self._how
        return bool(how.presence or how.frequency or how.bias) or how.repetition != 1

    def _changed(self, logits: Tensor) -> Tensor:
        how, changed = self._how, logits.clone()
        if self._seen:
            ids = torch.tensor(sorted(self._seen), device=logits.device)
            values = changed[ids]
            changed[ids] = torch.where(values > 0, values / how.repetition, values * how.repetition)
        if self._counts and (how.presence or how.frequency):
            ids = torch.tensor(list(self._counts), device=logits.device)
            counts = torch.tensor(list(self._counts.values()), dtype=torch.float32, device=logits.device)
            changed[ids] -= how.presence + how.frequency * counts
        if how.bias:
            changed.index_add_(0, self._bias_ids.to(logits.device), self._bias.to(logits.device))
        return changed

    def _draw(self, logits: Tensor) -> int:
        probabilities, ids = candidates(logits / max(self._how.temperature, LEAST_TEMPERATURE), self._how)
        sums = probabilities.double().cumsum(-1)
        at = torch.rand(1, generator=self._random, dtype=torch.float64).to(sums.device) * sums[-1]
        place = int(torch.searchsorted(sums, at, right=True).clamp(max=len(sums) - 1))
        return place if ids is None else int(ids[place])


def choose_all(logits: Tensor, samplers: Sequence[Sampler]) -> list[Chosen]:
    """[rows, vocabulary] logits -> one token a row.

    Raises:
        RunError: the model computes NaN.
    """
    logits = logits.float()
    likeliest, tokens = logits.max(-1)
    if bool(likeliest.isnan().any()):
        raise RunError("The model's logits are not numbers (NaN), so it cannot answer.", "Try another precision.")
    chosen = []
    for row, (sampler, token) in enumerate(zip(samplers, tokens.tolist(), strict=True)):
        if sampler.plain:
            sampler.take(token)
            chosen.append(Chosen(token, None))
        else:
            chosen.append(sampler.choose(logits[row]))
    return chosen


def candidates(logits: Tensor, how: Sampling) -> tuple[Tensor, Tensor | None]:
    """The probabilities drawn from, and the ids they belong to; None where they are all ids in order.

    Args:
        logits: [vocabulary], already divided by the temperature.
        how: `top_k`, then `top_p`, then `min_p` of it are applied; each sees what the one before has left.
    """
    if how.top_k == 0 and how.top_p >= 1 and how.min_p == 0:
        return logits.softmax(-1), None
    size = len(logits)
    if how.top_k:
        values, ids = logits.topk(min(how.top_k, size))
        return _truncated(values.softmax(-1), ids, how)
    total = logits.logsumexp(-1)
    values, ids = logits.topk(min(_FEW, size))
    probabilities = (values - total).exp()
    if len(values) < size and not _few_suffice(probabilities, how):
        values, ids = logits.sort(descending=True)
        probabilities = (values - total).exp()
    return _truncated(probabilities, ids, how)


def _few_suffice(probabilities: Tensor, how: Sampling) -> bool:
    by_sum = how.top_p < 1 and float(probabilities.sum()) >= how.top_p
    return by_sum or (how.min_p > 0 and float(probabilities[-1]) < how.min_p * float(probabilities[0]))


def _truncated(probabilities: Tensor, ids: Tensor, how: Sampling) -> tuple[Tensor, Tensor]:
    """Cut sorted probabilities by `top_p` and `min_p`; the likeliest always stays."""
    keep = len(probabilities)
    if how.top_p < 1:
        before = probabilities.double().cumsum(-1) - probabilities.double()
        keep = max(int((before < how.top_p).sum()), 1)
    if how.min_p > 0:
        keep = max(min(keep, int((probabilities >= how.min_p * probabilities[0]).sum())), 1)
    return probabilities[:keep], ids[:keep]


def score_of(logits: Tensor, token: int, top: int) -> TokenScore:
    """The log-prob of `token` under [vocabulary] logits, with the `top` likeliest tokens."""
    total = logits.logsumexp(-1)
    logprob = float(logits[token] - total)
    if top == 0:
        return TokenScore(token, logprob)
    values, ids = logits.topk(min(top, len(logits)))
    return TokenScore(token, logprob, tuple(zip(ids.tolist(), (values - total).tolist(), strict=True)))


def prompt_scores(logits: Tensor, targets: Sequence[int], top: int) -> list[TokenScore]:
    """[places, vocabulary] logits, and the token that really follows each place -> one score a place."""
    return [score_of(row, token, top) for row, token in zip(logits.float(), targets, strict=True)]
