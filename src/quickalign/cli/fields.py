"""The options of a training run on the command line, made from the hyperparameter model: there is no second list."""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from quickalign.cli.help import FACTS
from quickalign.core.hyperparameters import Hyperparameters

PANELS = {
    "mission": "Hyperparameters",
    "objective": "Objective",
    "optimisation": "Optimisation",
    "adapter": "Adapter",
    "machine": "Machine",
    "saving": "Watching and saving",
}
"""The help panel of each group of options, in this order."""

_BY_NAME = inspect.Parameter.KEYWORD_ONLY


def with_hyperparameters(command: Callable[..., None]) -> Callable[..., None]:
    """Give `command` one option per hyperparameter; its argument `options` receives those that were set by hand."""
    return with_options(
        command, {name: _option(name, field) for name, field in _by_panel(Hyperparameters.model_fields)}
    )


def with_options(command: Callable[..., None], options: Mapping[str, Any]) -> Callable[..., None]:
    """Give `command` further options, each by the name and the annotation of its parameter, with None as its default.

    The argument `options` of `command` receives those that were given.
    """

    @wraps(command)
    def wrapper(**values: Any) -> None:
        given = {name: values.pop(name) for name in options}
        command(**values, options={name: value for name, value in given.items() if value is not None})

    signature = inspect.signature(command, eval_str=True)
    parameters = [
        *(parameter for name, parameter in signature.parameters.items() if name != "options"),
        *(inspect.Parameter(name, _BY_NAME, default=None, annotation=kind) for name, kind in options.items()),
    ]
    # typer reads the signature and the annotations apart, and both must name the same parameters
    setattr(wrapper, "__signature__", inspect.Signature(parameters))  # noqa: B010 - mypy knows no such attribute
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapper


def option_name(name: str) -> str:
    """A field's name as a command-line option."""
    return "--" + name.replace("_", "-")


def as_options(values: dict[str, Any]) -> str:
    """Settings as they are typed: `--lora-dim 16 --load-in-4bit true`."""
    return " ".join(f"{option_name(name)} {_typed(value)}" for name, value in values.items())


def _by_panel(names: dict[str, FieldInfo]) -> list[tuple[str, FieldInfo]]:
    order = list(PANELS)
    return sorted(names.items(), key=lambda item: order.index(_extra(item[1], "group")))


def _option(name: str, field: FieldInfo) -> Any:
    kind: Any = _kind(field.annotation)
    option = typer.Option(
        option_name(name),
        help=_help(field),
        show_default=False,
        case_sensitive=False,
        metavar="NUMBER" if field.annotation in (int, float) else None,
        rich_help_panel=PANELS[_extra(field, "group")],
    )
    return Annotated[kind | None, option]


def _kind(annotation: Any) -> Any:
    """What the parser reads: choices, which shells can complete, else text that the model itself makes sense of."""
    if annotation is bool:
        return Literal["true", "false"]
    return Literal[get_args(annotation)] if get_origin(annotation) is Literal else str


def _help(field: FieldInfo) -> str:
    bounds = _bounds(field)
    facts = f"default {_typed(field.default)}" + (f", {bounds}" if bounds else "")
    return f"{field.description or ''}{FACTS}{facts}"


def _bounds(field: FieldInfo) -> str:
    """What values are possible: `1 to 4096 rows`, `above 0 to 1`."""
    found = {type(rule): rule for rule in field.metadata}
    low = f"{found[Ge].ge}" if Ge in found else f"above {found[Gt].gt}" if Gt in found else ""
    high = f"{found[Le].le}" if Le in found else f"below {found[Lt].lt}" if Lt in found else ""
    unit = _extra(field, "unit")
    span = " to ".join(part for part in (low, high) if part)
    return f"{span} {unit}".strip()


def _extra(field: FieldInfo, name: str) -> str:
    extra = field.json_schema_extra
    return str(extra[name]) if isinstance(extra, dict) else ""


def _typed(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f'"{text}"' if not text or " " in text else text
