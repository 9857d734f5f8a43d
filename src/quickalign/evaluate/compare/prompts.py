"""Prompts and people's votes from files."""

from __future__ import annotations

import json
from typing import Any, Literal, cast

from quickalign.core import storage
from quickalign.core.errors import DataError

Side = Literal["first", "second", "tie"]
_SIDES: dict[str, Side] = {"a": "first", "b": "second", "tie": "tie"}


def read_prompts(uri: str, count: int = 0) -> list[str]:
    """The different prompts of a file, in order; `count` 0 takes all.

    Raises:
        DataError: it holds none.
        StorageError: it cannot be opened.
    """
    found = dict.fromkeys(text.strip() for text in _texts(_read(uri), uri))
    found.pop("", None)
    if not found:
        raise DataError(f"{uri} holds no prompt.", "Write one prompt a line, or a JSON array of texts.")
    return list(found)[: count or None]


def read_votes(uri: str, names: tuple[str, str]) -> dict[str, list[Side]]:
    """People's votes between two models by prompt; votes between other models are left out.

    A line is {"prompt": ..., "a": MODEL, "b": MODEL, "winner": "a" | "b" | "tie"}; a and b may change places.

    Raises:
        DataError: a line is no vote.
    """
    votes: dict[str, list[Side]] = {}
    for number, line in enumerate(_read(uri).splitlines(), 1):
        if not line.strip():
            continue
        try:
            vote = json.loads(line)
            sides, winner = (str(vote["a"]), str(vote["b"])), _SIDES[vote["winner"]]
            prompt = str(vote["prompt"]).strip()
        except (ValueError, KeyError, TypeError):
            raise DataError(
                f"Line {number} of {uri} is no vote.",
                'Write {"prompt": ..., "a": MODEL, "b": MODEL, "winner": "a", "b" or "tie"}.',
            ) from None
        if sides == names:
            votes.setdefault(prompt, []).append(winner)
        elif sides == names[::-1]:
            votes.setdefault(prompt, []).append(turned(winner))
    return votes


def turned(side: Side) -> Side:
    """The same verdict with the two answers' places changed."""
    return cast("Side", {"first": "second", "second": "first", "tie": "tie"}[side])


def _texts(content: str, uri: str) -> list[str]:
    head = content.lstrip()[:1]
    if head == "[":
        try:
            return [_text(item, uri) for item in json.loads(content)]
        except ValueError as error:
            raise DataError(f"{uri} is not valid JSON: {error}.") from None
    lines = [line for line in content.splitlines() if line.strip()]
    if head != "{":
        return lines
    try:
        return [_text(json.loads(line), uri) for line in lines]
    except ValueError as error:
        raise DataError(f"{uri} has a line that is not valid JSON: {error}.") from None


def _text(item: Any, uri: str) -> str:
    text = item.get("prompt", item.get("instruction")) if isinstance(item, dict) else item
    if not isinstance(text, str):
        raise DataError(
            f"{uri} has an item without a prompt: {str(item)[:80]!r}.", "Give texts, or rows with a prompt."
        )
    return text


def _read(uri: str) -> str:
    with storage.open_binary(uri) as stream:
        try:
            return stream.read().decode("utf-8-sig")
        except UnicodeDecodeError:
            raise DataError(f"{uri} is not UTF-8 text.", "Save it as UTF-8.") from None
