"""Hyperparameters as a form, made from their schema: the mission's first, the others in folded groups."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from quickalign.core.errors import OptionError

GROUPS: Mapping[str, str] = {
    "mission": "Hyperparameters",
    "objective": "Objective",
    "optimisation": "Optimisation",
    "adapter": "Adapter",
    "machine": "Machine",
    "saving": "Watching and saving",
}
"""The groups in order, with their titles."""

Kind = Literal["choice", "switch", "integer", "number", "text"]
PREFIX = "option."
"""What the names of the form's fields begin with."""

_TRUE, _FALSE = "true", "false"


@dataclass(frozen=True, slots=True)
class Field:
    """One option. Bounds are None where there is none; `above` and `below` leave the bound itself out."""

    name: str
    kind: Kind
    group: str
    description: str
    unit: str
    default: Any
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def shown(self, value: Any) -> str:
        """A value as it stands in the form."""
        if isinstance(value, bool):
            return _TRUE if value else _FALSE
        if isinstance(value, float) and self.kind == "number":
            short = f"{value:g}"
            return short if float(short) == value else repr(value)
        return str(value)

    def parse(self, text: str) -> Any:
        """The value that `text` means; the text itself where it means none, so that the platform says why."""
        plain = text.strip()
        try:
            match self.kind:
                case "switch":
                    return {_TRUE: True, _FALSE: False}.get(plain, plain)
                case "integer":
                    return int(plain)
                case "number":
                    return float(plain)
        except ValueError:
            return plain
        return plain if self.kind == "choice" else text.replace("\r\n", "\n")


def fields(schema: Mapping[str, Any]) -> tuple[Field, ...]:
    """All options of a JSON schema, in its order."""
    return tuple(_field(name, value) for name, value in schema["properties"].items())


def groups(schema: Mapping[str, Any]) -> list[tuple[str, str, list[Field]]]:
    """The options by group: its name, its title, its fields."""
    every = fields(schema)
    return [(name, title, [field for field in every if field.group == name]) for name, title in GROUPS.items()]


def read(form: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a form that are not at their defaults.

    Raises:
        OptionError: a field that has no option.
    """
    known = {field.name: field for field in fields(schema)}
    values = {}
    for key, text in form.items():
        if not key.startswith(PREFIX) or not isinstance(text, str):
            continue
        field = known.get(key.removeprefix(PREFIX))
        if field is None:
            raise OptionError(f"There is no option {key.removeprefix(PREFIX)!r}.", "Reload the page.")
        value = field.parse(text)
        if value != field.default or type(value) is not type(field.default):
            values[field.name] = value
    return values


def _field(name: str, schema: Mapping[str, Any]) -> Field:
    return Field(
        name=name,
        kind=_kind(schema),
        group=schema["group"],
        description=schema["description"],
        unit=schema["unit"],
        default=schema["default"],
        choices=tuple(schema.get("enum", ())),
        least=schema.get("minimum"),
        most=schema.get("maximum"),
        above=schema.get("exclusiveMinimum"),
        below=schema.get("exclusiveMaximum"),
    )


def _kind(schema: Mapping[str, Any]) -> Kind:
    if "enum" in schema:
        return "choice"
    kinds: dict[str, Kind] = {"boolean": "switch", "integer": "integer", "number": "number"}
    return kinds.get(schema["type"], "text")
