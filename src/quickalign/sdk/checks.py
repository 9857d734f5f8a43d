"""Wire types made from what a program says, with its mistakes as errors that name the argument."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from quickalign.core.errors import OptionError
from quickalign.core.options import nearest

Kind = TypeVar("Kind", bound=BaseModel)


def checked(kind: type[Kind], values: Mapping[str, Any], called: Mapping[str, str] | None = None) -> Kind:
    """`values` as a `kind`.

    Args:
        kind: what they are to be.
        values: its fields.
        called: what a field is called where its value comes from, where that is not its own name.

    Raises:
        OptionError: a value that it cannot have; the first one is named.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _mistake(kind, first["type"], first["loc"], first["msg"], first["input"], called or {}) from None


def _mistake(
    kind: type[BaseModel], sort: str, path: Sequence[int | str], said: str, value: Any, called: Mapping[str, str]
) -> OptionError:
    """What is wrong at `path` in a `kind`, and the way out."""
    said = said.removeprefix("Value error, ")
    if not path:
        is_name = "_" in said.split()[0]
        return OptionError(f"{said if is_name else said[0].upper() + said[1:]}.")
    *above, last = (str(part) for part in path)
    where = ".".join([called.get(str(path[0]), str(path[0])), *map(str, path[1:])])
    parent = _model_at(kind, above)
    field = parent.model_fields.get(last) if parent else None
    meaning = field.description if field else None
    if sort == "missing":
        return OptionError(f"{where} is missing.", meaning)
    if sort == "extra_forbidden" and parent:
        guess = nearest(last, parent.model_fields)
        return OptionError(
            f"There is no option {where!r}.",
            f"Did you mean {guess!r}?" if guess else f"There are {', '.join(parent.model_fields)}.",
        )
    return OptionError(f"{where}={value!r} is not possible: {said[0].lower()}{said[1:]}.", meaning)


def _model_at(kind: type[BaseModel], path: Sequence[str]) -> type[BaseModel] | None:
    """The type of the object at `path` in a `kind`, None where it has no fields of its own."""
    found: type[BaseModel] | None = kind
    for part in path:
        field = found.model_fields.get(part) if found else None
        kinds = (field.annotation, *get_args(field.annotation)) if field else ()
        found = next((each for each in kinds if isinstance(each, type) and issubclass(each, BaseModel)), None)
    return found
