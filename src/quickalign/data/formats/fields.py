"""Reading single fields of a row, with a sentence for whatever is not as expected."""

from typing import Any

from quickalign.data.containers.json_row import Row
from quickalign.data.problem import RowProblem, describe

_MISSING = object()


def text(row: Row, name: str) -> str:
    """The text in field `name`: neither empty nor blank, and without NUL characters."""
    return checked_text(value(row, name, "a text"), name)


def checked_text(content: Any, field: str) -> str:
    """`content` if it is a usable text."""
    if not isinstance(content, str) or not content.strip():
        raise RowProblem(field, describe(content), "a text that is not empty" if isinstance(content, str) else "a text")
    return without_nul(content, field)


def optional_text(row: Row, name: str) -> str:
    """The text in field `name`, an empty one where the field is missing, null or empty."""
    content = row.get(name)
    if content is None or content == "":
        return ""
    if not isinstance(content, str):
        raise RowProblem(name, describe(content), "a text, or no such field")
    return without_nul(content, name)


def label(row: Row, name: str) -> str | None:
    """A label such as a category: a short text or a number; anything else is no label."""
    content = row.get(name)
    if isinstance(content, str) and content.strip():
        return content.strip()[:80]
    return str(content) if isinstance(content, int) and not isinstance(content, bool) else None


def value(row: Row, name: str, expected: str) -> Any:
    """Whatever is in field `name`, which must exist."""
    content = row.get(name, _MISSING)
    if content is _MISSING:
        raise RowProblem(name, "no such field", expected)
    return content


def without_nul(content: str, field: str) -> str:
    """`content`, which must hold no NUL character."""
    if "\0" in content:
        raise RowProblem(
            field, f"a NUL character at position {content.index(chr(0)) + 1}", "text without NUL characters"
        )
    return content
