"""One call of the dialect: what it brings, and the errors that it can end with."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from quickalign.platform import Platform

REGION = "local"
WORKSPACE = "1"
"""The one region and the one workspace there are; both travel as text."""

Asked = TypeVar("Asked", bound=BaseModel)
_MOST_PAGE = 1000


class Refused(Exception):  # noqa: N818 - an answer of the protocol, not a failure of ours
    """A call that is answered with an error of the protocol."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(frozen=True, slots=True)
class Call:
    """What a call brings.

    Attributes:
        platform: what answers it.
        path: the parts of the address that have names.
        query: parameters of the address.
        body: the JSON object of the body; empty where there is none.
        base_url: how the client reached this server, without a slash at the end.
    """

    platform: Platform
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Mapping[str, Any]
    base_url: str

    def text(self, name: str) -> str | None:
        """A field of the body that is a text, or missing.

        Raises:
            Refused: it is something else.
        """
        value = self.body.get(name)
        if value is not None and not isinstance(value, str):
            raise invalid(name, value, "it must be a text")
        return value or None

    def entries(self, name: str) -> list[Mapping[str, Any]]:
        """A field of the body that is a list of objects, or missing.

        Raises:
            Refused: it is something else.
        """
        value = self.body.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise invalid(name, value, "it must be a list of objects")
        return value

    def pairs(self, name: str, key: str = "Key", value: str = "Value") -> dict[str, str]:
        """A list of `{key, value}` objects as a dictionary.

        Raises:
            Refused: an entry has no key, or no text as its value.
        """
        found: dict[str, str] = {}
        for entry in self.entries(name):
            if not isinstance(entry.get(key), str) or not isinstance(entry.get(value), str):
                raise invalid(name, entry, f"each entry needs {key} and {value} as texts")
            found[entry[key]] = entry[value]
        return found

    def page(self) -> tuple[int, int]:
        """Number (from 1) and size of the page that is asked for.

        Raises:
            Refused: they cannot be.
        """
        return self._number("PageNumber", 1, 1_000_000), self._number("PageSize", 10, _MOST_PAGE)

    def _number(self, name: str, default: int, most: int) -> int:
        text = self.query.get(name, str(default))
        if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
            raise invalid(name, text, f"it must be a number from 1 to {most}")
        return int(text)


def validated(kind: type[Asked], values: Mapping[str, Any], names: Mapping[str, str] = MappingProxyType({})) -> Asked:
    """`values` as a `kind`; `names` says what its fields are called in the call, where that is not their own name.

    Raises:
        Refused: a value that cannot be; the first one is named.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(names.get(str(part), str(part)) for part in first["loc"]) or "the configuration"
        raise invalid(where, first.get("input"), first["msg"]) from None


def invalid(name: str, value: object, why: str) -> Refused:
    """A parameter that cannot be as it is."""
    return Refused(400, "InvalidParameter", f"{name}={str(value)[:200]!r} cannot be honoured: {why}.")


def unsupported(name: str, value: object, why: str) -> Refused:
    """A parameter that has no meaning here."""
    return Refused(400, "UnsupportedParameter", f"{name}={str(value)[:200]!r} cannot be honoured: {why}. Leave it out.")


def missing(kind: str, name: str) -> Refused:
    """Something that does not exist."""
    return Refused(404, f"{kind}NotFound", f"There is no {kind.lower()} {name[:100]!r}.")
