"""A JSON file of values, checked against the model of a specification: one sentence for whatever is wrong with it."""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from quickalign.core.errors import OptionError

Spec = TypeVar("Spec", bound=BaseModel)


def load(kind: type[Spec], path: Path) -> Spec:
    """Read a specification of this kind.

    Raises:
        OptionError: the file cannot be read, is no JSON object, or holds a value that cannot be.
    """
    return parse(kind, read(path), str(path))


def read(path: Path) -> dict[str, Any]:
    """The values in the file of a specification, unchecked.

    Raises:
        OptionError: the file cannot be read, or is no JSON object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"The specification {path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise OptionError(f"{path} is not valid JSON: {error}.") from None
    if not isinstance(values, dict):
        raise OptionError(f"{path} must hold a JSON object, not {type(values).__name__}.")
    return values


def parse(kind: type[Spec], values: dict[str, Any], name: str = "") -> Spec:
    """Validate the values of a specification; `name` says in errors where they come from.

    Raises:
        OptionError: a value that cannot be.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        found = f" ({first['input']!r})" if first["type"] != "missing" and first["loc"] else ""
        reason = str(first.get("ctx", {}).get("error") or first["msg"]).rstrip(".")
        raise OptionError(": ".join(part for part in (name, where + found, f"{reason}.") if part)) from None
