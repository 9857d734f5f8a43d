"""The parts that both kinds of response have."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import Response

DEFAULT = "default"
"""Stands for a replica's model, whatever its name."""

_LEAST = -9999.0


def usage(prompt: int, made: int) -> dict[str, Any]:
    """How many tokens a request took; an answer's end token counts as made."""
    return {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}


def least(logprob: float) -> float:
    """A log-prob that JSON can hold: minus infinity becomes what OpenAI writes for it."""
    return max(logprob, _LEAST)


def respond_json(value: Any, status: int = 200) -> Response:
    """A response of JSON."""
    return Response(orjson.dumps(value), status, media_type="application/json")
