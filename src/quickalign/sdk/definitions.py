"""The options of a recipe as PAI's SDK lists them."""

from dataclasses import dataclass
from typing import Any, get_args, get_origin

from quickalign.core.hyperparameters import Hyperparameters

_TYPES = {bool: "Bool", int: "Int", float: "Float", str: "String"}


@dataclass(frozen=True, slots=True)
class HyperParameterDefinition:
    """One option: its name, type, default, meaning, and the values it can have where these are few."""

    name: str
    type: str
    default_value: str
    description: str
    required: bool = False
    choices: tuple[str, ...] = ()


def hyperparameter_definitions() -> list[HyperParameterDefinition]:
    """All options; the first thirteen are those of PAI-QuickStart's DPO algorithm."""
    return [_definition(name, field) for name, field in Hyperparameters.model_fields.items()]


def _definition(name: str, field: Any) -> HyperParameterDefinition:
    chosen = get_origin(field.annotation) is not None
    default = str(field.default).lower() if field.annotation is bool else str(field.default)
    return HyperParameterDefinition(
        name=name,
        type="String" if chosen else _TYPES[field.annotation],
        default_value=default,
        description=field.description or "",
        choices=get_args(field.annotation) if chosen else (),
    )
