"""From prompt token ids to answer token ids: batched decoding with a key-value cache.

Knows nothing of text or templates. transformers' own `generate` is not used because it mixes in whatever the model's
`generation_config.json` recommends, such as a repetition penalty, and greedy would then not mean greedy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from quickalign.core.errors import RunError

PROMPTS_AT_ONCE = 16
LEAST_TEMPERATURE = 1e-30
"""Logits divided by less are no numbers any more in fp32; at this, only the likeliest is drawn already."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """One answer: its token ids without the end token, and whether the model ended it by itself."""

    ids: tuple[int, ...]
    finished: bool


@torch.no_grad()
def decode(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    *,
    stop: frozenset[int],
    max_new_tokens: int,
    context_length: int,
    temperature: float = 0.0,
    seed: int = 0,
) -> list[Decoded]:
    """Answer every prompt; temperature 0 takes the likeliest token each time.

    A row's answer depends on its prompt and the seed alone, never on the rows decoded beside it. The model is left in
    the mode (train or eval) it came in.

    Args:
        model: a causal language model of transformers, wrapped by PEFT or not.
        prompts: token ids, at least one a prompt and fewer than `context_length`.
        stop: the ids that end an answer.
        max_new_tokens: the most tokens of an answer.
        context_length: no row grows beyond this many tokens.
        temperature: divides the logits before a token is drawn.
        seed: of the draws; has no effect at temperature 0.

    Raises:
        RunError: the model computes NaN.
    """
    by_length = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    answers: dict[int, Decoded] = {}
    training = model.training
    model.eval()
    try:
        for start in range(0, len(by_length), PROMPTS_AT_ONCE):
            chosen = by_length[start : start + PROMPTS_AT_ONCE]
            batch = _Batch([prompts[index] for index in chosen], stop, max_new_tokens, context_length)
            draw = _Draw(len(chosen), temperature, seed)
            answers.update(zip(chosen, batch.run(model, draw), strict=True))
    finally:
        model.train(training)
    return [answers[index] for index in range(len(prompts))]


class _Draw:
    """Chooses each row's next token. Every row has its own random numbers, so that batching cannot change them."""

    def __init__(self, rows: int, temperature: float, seed: int) -> None:
        self._temperature = temperature
        self._generators = [torch.Generator().manual_seed(seed) for _ in range(rows)]

    def __call__(self, logits: Tensor) -> list[int]:
        """[rows, vocab] fp32 logits -> one id a row."""
        if bool(logits.isnan().any()):
            raise RunError("The model's logits are not numbers (NaN), so it cannot answer.", "Try another precision.")
        if self._temperature == 0:
            return [int(token) for token in logits.argmax(-1)]
        weights = (logits / max(self._temperature, LEAST_TEMPERATURE)).softmax(-1).cpu()
        return [
            int(torch.multinomial(row, 1, generator=own)) for row, own in zip(weights, self._generators, strict=True)
        ]


class _Batch:
    """Left-padded rows that grow together; a row that has ended is fed padding until the last one ends."""

    def __init__(
        self, prompts: Sequence[Sequence[int]], stop: frozenset[int], max_new_tokens: int, context_length: int
    ) -> None:
        self._prompts = prompts
        self._stop = stop
        self._room = [min(max_new_tokens, context_length - len(prompt)) for prompt in prompts]
        self._answers: list[list[int]] = [[] for _ in prompts]
        self._finished = [False] * len(prompts)

    def run(self, model: nn.Module, draw: _Draw) -> list[Decoded]:
        """Decode to the end of every row."""
        device = next(model.parameters()).device
        width = max(len(prompt) for prompt in self._prompts)
        # Which id pads is of no account: padding is masked out.
        tokens = torch.tensor([[0] * (width - len(p)) + list(p) for p in self._prompts], device=device)
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in self._prompts], device=device)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        cache = None
        while self._open():
            output = model(
                input_ids=tokens,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            cache = output.past_key_values
            fed = self._append(draw(output.logits[:, -1].float()))
            tokens = torch.tensor(fed, device=device)[:, None]
            mask = torch.cat([mask, torch.ones_like(tokens)], dim=1)
            positions = positions[:, -1:] + 1
        return [Decoded(tuple(ids), done) for ids, done in zip(self._answers, self._finished, strict=True)]

    def _open(self) -> bool:
        rows = zip(self._answers, self._finished, self._room, strict=True)
        return any(not finished and len(ids) < room for ids, finished, room in rows)

    def _append(self, tokens: list[int]) -> list[int]:
        """Take one token a row into the answers; returns the ids to feed next, 0 for rows that have ended."""
        fed = []
        for row, token in enumerate(tokens):
            ended = self._finished[row] or len(self._answers[row]) >= self._room[row]
            if not ended and token in self._stop:
                self._finished[row] = True
            elif not ended:
                self._answers[row].append(token)
            fed.append(0 if ended or self._finished[row] else token)
        return fed
