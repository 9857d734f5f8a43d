"""vLLM's completions protocol: a generation as a request's body, and events as tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from quickalign.serve.engine import Finish, Generation, TokenOut, TokenScore

LEAST_TEMPERATURE = 0.01
"""vLLM draws with this wherever less, but not 0, is asked for."""
_LEAST_TOP_P = 1e-9
"""vLLM knows no 0, which keeps the likeliest token alone; this does the same."""
_NO_SEED = -1
"""vLLM takes this seed for none at all."""
_INSTEAD_OF_NONE = (1 << 63) - 1
_ID = "token_id:"


def apart(generation: Generation) -> list[Generation]:
    """The requests that a generation becomes. vLLM takes several choices in one only where tokens are drawn."""
    if generation.choices == 1 or generation.sampling.temperature > 0:
        return [generation]
    first = generation.first
    return [replace(generation, choices=1, first=first + index) for index in range(generation.choices)]


def body_of(model: str, generation: Generation) -> dict[str, Any]:
    """What is asked of vLLM. Tokens go in and out as ids, so its own tokenizer and template have no part in it."""
    how = generation.sampling
    echoes = how.prompt_logprobs is not None
    body: dict[str, Any] = {
        "model": model,
        "prompt": list(generation.prompt),
        "n": generation.choices,
        "stream": True,
        "return_token_ids": True,
        "max_tokens": how.max_tokens if echoes else max(how.max_tokens, 1),  # none at all only for a prompt's scores
        "temperature": how.temperature,
        "top_k": how.top_k,
        "top_p": max(how.top_p, _LEAST_TOP_P),
        "min_p": how.min_p,
        "presence_penalty": how.presence,
        "frequency_penalty": how.frequency,
        "repetition_penalty": how.repetition,
        "seed": how.seed if how.seed != _NO_SEED else _INSTEAD_OF_NONE,
        "stop_token_ids": sorted(how.stop),
        "ignore_eos": True,  # what ends an answer is in `stop_token_ids`
    }
    if how.bias:
        body["logit_bias"] = {str(token): value for token, value in how.bias}
    if how.logprobs is not None:
        body |= {"logprobs": how.logprobs, "return_tokens_as_token_ids": True}
    if echoes:
        body["echo"] = True
    return body


class Reader:
    """Turns the events of one request into what the engine tells.

    Args:
        generation: what was asked.
    """

    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        self._echoes = generation.sampling.prompt_logprobs is not None
        self._echoed: set[int] = set()
        self.open = set(range(generation.choices))

    def read(self, event: Mapping[str, Any]) -> Iterator[TokenOut]:
        """What one event tells; usage tells nothing."""
        for choice in event.get("choices", ()):
            yield from self._choice(choice)

    def _choice(self, told: Mapping[str, Any]) -> Iterator[TokenOut]:
        index = int(told["index"])
        number = self._generation.first + index
        reason = told.get("finish_reason")
        if reason not in (None, "stop", "length"):
            self.open.discard(index)
            yield TokenOut(number, None, error=f"vLLM ended the answer with {reason!r}.")
            return
        finish: Finish | None = reason
        ids = [int(token) for token in told.get("token_ids") or ()]
        scores = _scores(told.get("logprobs"), self._generation.sampling.logprobs)
        prompt: tuple[TokenScore, ...] | None = None
        if self._echoes and index not in self._echoed and scores:
            length = len(self._generation.prompt)
            prompt, scores = tuple(one for one in scores[1:length] if one is not None), scores[length:]
            self._echoed.add(index)
        if finish is not None:
            self.open.discard(index)
        if self._generation.sampling.max_tokens == 0:
            yield TokenOut(number, None, finish="length", prompt=prompt)
            return
        for place, token in enumerate(ids):
            last = place == len(ids) - 1
            score = scores[place] if place < len(scores) else None
            yield TokenOut(number, token, score, finish if last else None, prompt if place == 0 else None)
        if not ids and finish is not None:
            yield TokenOut(number, None, None, finish, prompt)


def _scores(told: Mapping[str, Any] | None, top: int | None) -> list[TokenScore | None]:
    """One score a token; None for a prompt's first, which nothing comes before."""
    if not told:
        return []
    tops: Sequence[Mapping[str, float] | None] = told.get("top_logprobs") or [None] * len(told["tokens"])
    return [
        None if logprob is None else TokenScore(_id(token), float(logprob), _likeliest(likely, top or 0))
        for token, logprob, likely in zip(told["tokens"], told["token_logprobs"], tops, strict=True)
    ]


def _likeliest(told: Mapping[str, float] | None, count: int) -> tuple[tuple[int, float], ...]:
    """The likeliest tokens; vLLM puts the chosen one among them, wherever it stands."""
    ordered = sorted(((_id(token), float(value)) for token, value in (told or {}).items()), key=lambda one: -one[1])
    return tuple(ordered[:count])


def _id(token: str) -> int:
    return int(token.removeprefix(_ID))
