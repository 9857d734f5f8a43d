"""From a body to generations: prompts in ids, and how their answers are drawn."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence

from quickalign.serve.engine import EngineInfo, Generation, Sampling
from quickalign.serve.http.body import Body, ChatBody
from quickalign.serve.http.errors import bad_value

_SEEDS = 1 << 63
_ID = re.compile(r"0|[1-9][0-9]{0,8}")
_COMPLETION_TOKENS = 16
"""How many tokens OpenAI's completions have where none are asked for."""


def make_generations(
    body: Body, prompts: Sequence[Sequence[int]], info: EngineInfo, ends: frozenset[int]
) -> list[Generation]:
    """One generation a prompt, each with `n` choices.

    Raises:
        ApiError: 400; there is no room for a prompt and its answer, or an option cannot be honoured.
    """
    choices = body.n or 1
    if choices > info.slots:
        raise bad_value(f"n={choices} is more than the {info.slots} answers that are computed at once.", "n")
    seed = secrets.randbelow(_SEEDS) if body.seed is None else body.seed
    return [
        Generation(tuple(ids), _sampling(body, len(ids), info, ends, seed), choices, index * choices)
        for index, ids in enumerate(prompts)
    ]


def _sampling(body: Body, prompt: int, info: EngineInfo, ends: frozenset[int], seed: int) -> Sampling:
    if isinstance(body, ChatBody):
        most, top, echoed = body.most_tokens, body.top, None
    else:
        most, top = _COMPLETION_TOKENS if body.max_tokens is None else body.max_tokens, body.logprobs
        echoed = top if body.echo else None
    return Sampling(
        max_tokens=_room(most, prompt, info.context),
        temperature=_temperature(1.0 if body.temperature is None else body.temperature, info),
        top_k=max(body.top_k or 0, 0),
        top_p=1.0 if body.top_p is None else body.top_p,
        min_p=body.min_p or 0.0,
        presence=body.presence_penalty or 0.0,
        frequency=body.frequency_penalty or 0.0,
        repetition=1.0 if body.repetition_penalty is None else body.repetition_penalty,
        bias=_bias(body.logit_bias or {}, info.vocabulary),
        seed=seed,
        stop=frozenset() if body.ignore_eos else ends,
        logprobs=top,
        prompt_logprobs=echoed,
    )


def _temperature(asked: float, info: EngineInfo) -> float:
    if 0 < asked < info.least_temperature:
        raise bad_value(
            f"temperature={asked} is below {info.least_temperature}, the least that engine={info.engine} draws with; "
            "ask for that, or for 0, which takes the likeliest token.",
            "temperature",
        )
    return asked


def _room(most: int | None, prompt: int, context: int) -> int:
    """How many tokens an answer may have. All of it fits into the context, or the request is refused."""
    if prompt == 0:
        raise bad_value("An empty prompt cannot be answered; give at least one token.", "prompt")
    if prompt + (1 if most is None else most) > context:
        asked = "" if most is None else f" and {most} for the answer"
        raise bad_value(
            f"This model's context is {context} tokens. The prompt has {prompt} tokens{asked}; shorten one of them.",
            "messages" if most is None else "max_tokens" if prompt < context else None,
            "context_length_exceeded",
        )
    return context - prompt if most is None else most


def _bias(bias: dict[str, float], vocabulary: int) -> tuple[tuple[int, float], ...]:
    for name in bias:
        if not _ID.fullmatch(name) or int(name) >= vocabulary:
            raise bad_value(
                f"logit_bias names {name[:40]!r}, which is no token id; they go from 0 to {vocabulary - 1}.",
                "logit_bias",
            )
    return tuple((int(name), value) for name, value in bias.items())
