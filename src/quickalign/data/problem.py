"""Why a row cannot be used, in words."""

from typing import Any

from quickalign.data.report import BadRow

_SHOWN = 40
"""Characters of a user's text that a message quotes at most."""


class RowProblem(Exception):  # noqa: N818 - a verdict on a row, caught where rows are counted
    """Raised while a row is converted or encoded; `field` is empty where the whole row is meant."""

    def __init__(self, field: str, found: str, expected: str) -> None:
        self.field = field
        self.found = found
        self.expected = expected
        super().__init__(f"{field}: found {found}, expected {expected}")

    def at(self, row: int) -> BadRow:
        """The bad row that this problem makes of row number `row`."""
        return BadRow(row=row, field=self.field, found=self.found, expected=self.expected)


def quote(text: str) -> str:
    """A user's text in quotes, shortened, with control characters escaped."""
    shown = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    return repr(shown)


def describe(value: Any) -> str:
    """What a JSON value is, as a short phrase such as `a list of 3 items` or `the number 4`."""
    match value:
        case None:
            return "nothing (null)"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"
        case str():
            return _text(value)
        case list():
            return f"a list of {len(value)} item{'' if len(value) == 1 else 's'}"
    return f"an object with {_names(value)}" if isinstance(value, dict) else f"a {type(value).__name__}"


def _text(value: str) -> str:
    if value.strip():
        return f"the text {quote(value)}"
    return f"a text of {len(value)} blank characters" if value else "an empty text"


def _names(value: dict[Any, Any]) -> str:
    names = [repr(str(name)) for name in value]
    more = f" and {len(names) - 4} more fields" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more if names else "no fields"
