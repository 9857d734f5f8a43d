"""People's votes as verdicts between two models: from a file of one's own, or from what the console's chat keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, cast

from quickalign.core import paths
from quickalign.core.errors import DataError
from quickalign.evaluate.compare.prompts import question, read_text

Side = Literal["first", "second", "tie"]
Votes = dict[str, list[Side]]
"""Votes between two models by prompt."""

STORED = "stored"
"""Stands for the votes that this home's console keeps."""

_SIDES: dict[str, Side] = {"a": "first", "b": "second", "tie": "tie"}
_CHOICES: dict[str, Side | None] = {
    "left": "first",
    "right": "second",
    "tie": "tie",
    "both_bad": "tie",
    "edited": None,  # a better answer than both says nothing about the two
}


def read_votes(uri: str, names: tuple[str, str]) -> Votes:
    """People's votes between two models by prompt; votes between other models are left out.

    A line is {"prompt": ..., "a": MODEL, "b": MODEL, "winner": "a" | "b" | "tie"}, or a vote as the console keeps it.
    Of the latter, a model is known by its service's name or by what that served; conversations of several questions are
    left out.

    Raises:
        DataError: a line is no vote.
    """
    votes: Votes = {}
    place = str(paths.home() / "votes.jsonl") if uri == STORED else uri
    for number, line in enumerate(read_text(place).splitlines(), 1):
        if not line.strip():
            continue
        try:
            vote = json.loads(line)
            prompt, side = _kept(vote, names) if "choice" in vote else _own(vote, names)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise DataError(
                f"Line {number} of {place} is no vote.",
                'Write {"prompt": ..., "a": MODEL, "b": MODEL, "winner": "a", "b" or "tie"}.',
            ) from None
        if side is not None and prompt:
            votes.setdefault(prompt, []).append(side)
    return votes


def turned(side: Side) -> Side:
    """The same verdict with the two answers' places changed."""
    return cast("Side", {"first": "second", "second": "first", "tie": "tie"}[side])


def _own(vote: dict[str, Any], names: tuple[str, str]) -> tuple[str, Side | None]:
    sides, winner = (str(vote["a"]), str(vote["b"])), _SIDES[vote["winner"]]
    prompt = str(vote["prompt"]).strip()
    if sides == names:
        return prompt, winner
    return prompt, turned(winner) if sides == names[::-1] else None


def _kept(vote: dict[str, Any], names: tuple[str, str]) -> tuple[str, Side | None]:
    choice, left, right = _CHOICES[vote["choice"]], vote["left"], vote["right"]
    prompt = question(vote).strip()
    if choice is None:
        return prompt, None
    if _is(left, names[0]) and _is(right, names[1]):
        return prompt, choice
    return prompt, turned(choice) if _is(left, names[1]) and _is(right, names[0]) else None


def _is(candidate: dict[str, Any], name: str) -> bool:
    """Whether the answer came from the model that is called `name`: a service, a job, a card, or a run's folder."""
    served = str(candidate.get("model") or "")
    if name in (str(candidate["service"]), served):
        return True
    if not served.startswith("/"):
        return False
    folder = Path(name).expanduser().absolute()
    return folder in (Path(served), Path(served).parent)
