"""One row of JSON text."""

from typing import Any

import orjson

from quickalign.data.containers.encoding import not_utf8
from quickalign.data.problem import RowProblem, describe, quote

Row = dict[str, Any]

_CONSTANTS = ("NaN", "Infinity", "-Infinity")


def parse_row(content: bytes, offset: int) -> Row | RowProblem:
    """The object that `content` is, or why it is none; `offset` is where it stands in its file, in bytes."""
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        return _problem(content, offset, error)
    if isinstance(value, dict):
        return value
    return RowProblem("", describe(value), "an object with named fields")


def _problem(content: bytes, offset: int, error: orjson.JSONDecodeError) -> RowProblem:
    if foreign := not_utf8(content, offset):
        return RowProblem("", foreign, "UTF-8 text")
    if b"\0" in content:
        return RowProblem("", f"a NUL byte at byte offset {offset + content.index(0)}", "text without NUL bytes")
    if "depth limit" in error.msg:
        return RowProblem("", "lists or objects nested too deeply", "a row of at most 1000 levels")
    text = content.decode("utf-8")
    at = error.pos
    start = max(at - 10, 0)
    constant = next((name for name in _CONSTANTS if name in text[start : at + 10]), None)
    if constant:
        return RowProblem("", f"{constant} (no JSON value)", "a number, a text or null")
    reason = error.msg.split(": line")[0]
    return RowProblem("", f"malformed JSON ({reason}) near {quote(text[start : at + 20])}", "one JSON object")
