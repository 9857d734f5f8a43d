"""What `deploy` and `services update` both take: what is served, and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any

import typer
from pydantic import BaseModel

from quickalign.cli.fields import option_name, with_options
from quickalign.core.errors import OptionError
from quickalign.core.hyperparameters import Precision
from quickalign.core.wire.services import Autoscaling, EngineChoice, RevisionSpec, ServiceCreate, Source, Weights

_HOW = "How it is served"
_LIMITS = "Limits"
_CLUSTER = "On a cluster"

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The service's name, as `quickalign services list` shows it.")
]
Checkpoint = Annotated[
    int | None,
    typer.Option("--checkpoint", min=1, help=Source.model_fields["checkpoint"].description, show_default=False),
]
Adapter = Annotated[
    str | None, typer.Option("--adapter", help="A folder with an adapter on the model SOURCE.", show_default=False)
]
ModelRevision = Annotated[
    str | None,
    typer.Option("--model-revision", help="A revision of the repository, instead of the card's.", show_default=False),
]
Labels = Annotated[
    list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="A label; may be repeated.", show_default=False)
]
_UNSET: Mapping[str, tuple[str, Any]] = MappingProxyType(
    {
        "autoscaling": ("autoscaling", None),
        "concurrency": ("concurrency", None),
        "context": ("context", None),
        "idle-stop": ("idle_stop_seconds", None),
        "labels": ("labels", {}),
        "requests-per-minute": ("requests_per_minute", None),
        "share-base": ("share_base", None),
        "system-prompt": ("system_prompt", None),
    }
)
"""What need not be set: the field it is, and what that is where it is not."""

Unset = Annotated[
    list[str] | None,
    typer.Option(
        "--unset",
        metavar="OPTION",
        help=f"Take back what was set, as if it never was: {', '.join(_UNSET)}. May be repeated.",
        show_default=False,
    ),
]
Detach = Annotated[bool, typer.Option("--detach", help="Return at once instead of waiting.")]


def with_unset(changes: Mapping[str, Any], names: list[str] | None) -> dict[str, Any]:
    """The `changes` of a service with those that `--unset` asks for.

    Raises:
        OptionError: one that cannot be unset, or that is set as well.
    """
    found = dict(changes)
    for name in names or ():
        option = name.removeprefix("--").replace("_", "-")
        if option not in _UNSET:
            raise OptionError(f"--unset {name!r} is nothing that can be unset.", f"Take one of {', '.join(_UNSET)}.")
        field, value = _UNSET[option]
        if field in changes:
            raise OptionError(f"--unset {option} takes back what the same command sets.", "Leave one of the two out.")
        found[field] = value
    return found


def _option(kind: Any, name: str, panel: str, about: str | None, **rules: Any) -> Any:
    """An option that is the server's to choose where it is not given."""
    return Annotated[kind | None, typer.Option(name, help=about, show_default=False, rich_help_panel=panel, **rules)]


def _of(model: type[BaseModel], field: str) -> str | None:
    return model.model_fields[field].description


def _of_revision(kind: Any, field: str, panel: str, name: str | None = None, **rules: Any) -> Any:
    return _option(kind, name or option_name(field), panel, _of(RevisionSpec, field), **rules)


_AUTOSCALING = {
    "min_replicas": "min",
    "max_replicas": "max",
    "ongoing_requests": "ongoing_requests",
    "quiet_seconds": "quiet_seconds",
}
"""Options whose values are fields of `autoscaling`; all others have the name of the field that they are."""

_OPTIONS = {
    "engine": _of_revision(EngineChoice, "engine", _HOW),
    "precision": _of_revision(Precision, "precision", _HOW),
    "weights": _of_revision(Weights, "weights", _HOW),
    "system_prompt": _of_revision(str, "system_prompt", _HOW),
    "context": _of_revision(int, "context", _HOW, min=8),
    "share_base": _of_revision(bool, "share_base", _HOW, "--share-base/--no-share-base"),
    "max_concurrency": _of_revision(int, "max_concurrency", _LIMITS, min=1),
    "max_waiting": _of_revision(int, "max_waiting", _LIMITS, min=0),
    "requests_per_minute": _option(
        int, "--requests-per-minute", _LIMITS, "Requests a minute that one token may make.", min=1
    ),
    "concurrency": _option(int, "--concurrency", _LIMITS, "Requests that one token may have open at once.", min=1),
    "idle_stop_seconds": _option(
        float, "--idle-stop", _LIMITS, _of(ServiceCreate, "idle_stop_seconds"), min=1, metavar="SECONDS"
    ),
    "min_replicas": _option(int, "--min-replicas", _CLUSTER, _of(Autoscaling, "min"), min=0),
    "max_replicas": _option(int, "--max-replicas", _CLUSTER, _of(Autoscaling, "max"), min=1),
    "ongoing_requests": _option(int, "--ongoing-requests", _CLUSTER, _of(Autoscaling, "ongoing_requests"), min=1),
    "quiet_seconds": _option(float, "--quiet-seconds", _CLUSTER, _of(Autoscaling, "quiet_seconds"), min=1),
}


def with_service_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give `command` the options of how a model is served; its argument `options` receives those that were given."""
    return with_options(command, _OPTIONS)


def fields_of(options: dict[str, Any], *, anew: bool) -> dict[str, Any]:
    """What the options say, as fields of a service: those of autoscaling together.

    Args:
        options: as `with_service_options` hands them over.
        anew: whether there is no service yet, whose autoscaling they change.

    Raises:
        OptionError: one of autoscaling was given without the most replicas, and none are there.
    """
    bounds = {field: options[name] for name, field in _AUTOSCALING.items() if name in options}
    if anew and bounds and "max" not in bounds:
        raise OptionError("Autoscaling needs its upper bound.", "Add --max-replicas N.")
    fields = {name: value for name, value in options.items() if name not in _AUTOSCALING}
    return fields | ({"autoscaling": bounds} if bounds else {})
