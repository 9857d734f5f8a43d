"""Prompts from files."""

from __future__ import annotations

import json
from typing import Any

from quickalign.core import storage
from quickalign.core.errors import DataError


def read_prompts(uri: str, count: int = 0) -> list[str]:
    """The different prompts of a file, in order; `count` 0 takes all.

    Raises:
        DataError: it holds none.
        StorageError: it cannot be opened.
    """
    found = dict.fromkeys(text.strip() for text in _texts(read_text(uri), uri))
    found.pop("", None)
    if not found:
        raise DataError(f"{uri} holds no prompt.", "Write one prompt a line, or a JSON array of texts.")
    return list(found)[: count or None]


def question(vote: dict[str, Any]) -> str:
    """What was asked in a vote that the console keeps; empty where the conversation is more than one question."""
    turns = [turn for turn in vote.get("messages") or () if turn.get("role") != "system"]
    return str(turns[0].get("content") or "") if len(turns) == 1 else ""


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
    text = item
    if isinstance(item, dict):
        text = question(item) if "choice" in item else item.get("prompt", item.get("instruction"))
    if not isinstance(text, str):
        raise DataError(
            f"{uri} has an item without a prompt: {str(item)[:80]!r}.", "Give texts, or rows with a prompt."
        )
    return text


def read_text(uri: str) -> str:
    """The whole file as text.

    Raises:
        DataError: it is not UTF-8. StorageError: it cannot be opened.
    """
    with storage.open_binary(uri) as stream:
        try:
            return stream.read().decode("utf-8-sig")
        except UnicodeDecodeError:
            raise DataError(f"{uri} is not UTF-8 text.", "Save it as UTF-8.") from None
