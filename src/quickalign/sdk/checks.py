"""Wire types made from what a program says, with its mistakes as errors that name the argument."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from quickalign.core.errors import OptionError

Kind = TypeVar("Kind", bound=BaseModel)


def checked(kind: type[Kind], values: Mapping[str, Any]) -> Kind:
    """`values` as a `kind`.

    Raises:
        OptionError: a value that it cannot have; the first one is named.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        if not where:
            sentence = first["msg"].removeprefix("Value error, ")
            raise OptionError(f"{sentence[0].upper()}{sentence[1:]}.") from None
        field = kind.model_fields.get(where)
        meaning = field.description if field else None
        raise OptionError(
            f"{where}={first['input']!r} is not possible: {first['msg'][0].lower()}{first['msg'][1:]}.", meaning
        ) from None
