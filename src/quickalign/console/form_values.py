"""What the fields of a form hold, as it is on the wire."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from quickalign.core.errors import OptionError

Values = TypeVar("Values", bound=BaseModel)


def filled(form: Mapping[str, Any], name: str) -> str | None:
    """A field's text, of which `checked` makes the number that it is to be; None where it is empty."""
    return text(form, name) or None


def text(form: Mapping[str, Any], name: str) -> str:
    """A field's text without blanks around it."""
    return str(form.get(name, "")).strip()


def checked(kind: type[Values], values: Mapping[str, Any], whole: str) -> Values:
    """`values` as what they are on the wire; `whole` is what an error of several fields together is about.

    Raises:
        OptionError: the first that cannot be.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or whole
        why = first["msg"].removeprefix("Value error, ")
        raise OptionError(f"{where}: {why}.", "Correct the field.", field=where) from None
