"""What `deploy` and `services update` both take: what is served, and how."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

import typer

from quickalign.core.errors import OptionError
from quickalign.core.hyperparameters import Precision
from quickalign.core.wire.services import Autoscaling, EngineChoice, RevisionSpec, ServiceCreate, Source, Weights

_HOW = "How it is served"
_LIMITS = "Limits"
_CLUSTER = "On a cluster"


def _about(kind: type[Any], name: str) -> str:
    return kind.model_fields[name].description or ""


Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The service's name, as `quickalign services list` shows it.")
]
Checkpoint = Annotated[
    int | None, typer.Option("--checkpoint", min=1, help=_about(Source, "checkpoint"), show_default=False)
]
Adapter = Annotated[
    str | None, typer.Option("--adapter", help="A folder with an adapter on the model SOURCE.", show_default=False)
]
ModelRevision = Annotated[
    str | None,
    typer.Option("--model-revision", help="A revision of the repository, instead of the card's.", show_default=False),
]
Engine = Annotated[
    EngineChoice | None,
    typer.Option("--engine", help=_about(RevisionSpec, "engine"), show_default=False, rich_help_panel=_HOW),
]
AsPrecision = Annotated[
    Precision | None,
    typer.Option("--precision", help=_about(RevisionSpec, "precision"), show_default=False, rich_help_panel=_HOW),
]
AsWeights = Annotated[
    Weights | None,
    typer.Option("--weights", help=_about(RevisionSpec, "weights"), show_default=False, rich_help_panel=_HOW),
]
SystemPrompt = Annotated[
    str | None,
    typer.Option(
        "--system-prompt", help=_about(RevisionSpec, "system_prompt"), show_default=False, rich_help_panel=_HOW
    ),
]
Context = Annotated[
    int | None,
    typer.Option("--context", min=8, help=_about(RevisionSpec, "context"), show_default=False, rich_help_panel=_HOW),
]
ShareBase = Annotated[
    bool | None,
    typer.Option(
        "--share-base/--no-share-base",
        help=_about(RevisionSpec, "share_base"),
        show_default=False,
        rich_help_panel=_HOW,
    ),
]
MaxConcurrency = Annotated[
    int | None,
    typer.Option(
        "--max-concurrency",
        min=1,
        help=_about(RevisionSpec, "max_concurrency"),
        show_default=False,
        rich_help_panel=_LIMITS,
    ),
]
MaxWaiting = Annotated[
    int | None,
    typer.Option(
        "--max-waiting", min=0, help=_about(RevisionSpec, "max_waiting"), show_default=False, rich_help_panel=_LIMITS
    ),
]
RequestsPerMinute = Annotated[
    int | None,
    typer.Option(
        "--requests-per-minute",
        min=1,
        help="Requests a minute that one token may make.",
        show_default=False,
        rich_help_panel=_LIMITS,
    ),
]
Concurrency = Annotated[
    int | None,
    typer.Option(
        "--concurrency",
        min=1,
        help="Requests that one token may have open at once.",
        show_default=False,
        rich_help_panel=_LIMITS,
    ),
]
IdleStop = Annotated[
    float | None,
    typer.Option(
        "--idle-stop",
        metavar="SECONDS",
        min=1,
        help=_about(ServiceCreate, "idle_stop_seconds"),
        show_default=False,
        rich_help_panel=_LIMITS,
    ),
]
MinReplicas = Annotated[
    int | None,
    typer.Option(
        "--min-replicas", min=0, help=_about(Autoscaling, "min"), show_default=False, rich_help_panel=_CLUSTER
    ),
]
MaxReplicas = Annotated[
    int | None,
    typer.Option(
        "--max-replicas", min=1, help=_about(Autoscaling, "max"), show_default=False, rich_help_panel=_CLUSTER
    ),
]
OngoingRequests = Annotated[
    int | None,
    typer.Option(
        "--ongoing-requests",
        min=1,
        help=_about(Autoscaling, "ongoing_requests"),
        show_default=False,
        rich_help_panel=_CLUSTER,
    ),
]
QuietSeconds = Annotated[
    float | None,
    typer.Option(
        "--quiet-seconds",
        min=1,
        help=_about(Autoscaling, "quiet_seconds"),
        show_default=False,
        rich_help_panel=_CLUSTER,
    ),
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


def autoscaling(
    least: int | None, most: int | None, ongoing_requests: int | None, quiet_seconds: float | None, *, anew: bool
) -> dict[str, Any] | None:
    """What the options of autoscaling say together; None where none was given.

    Args:
        anew: whether nothing is there that they change.

    Raises:
        OptionError: one of them was given without the most replicas, and none are there.
    """
    given = {"min": least, "max": most, "ongoing_requests": ongoing_requests, "quiet_seconds": quiet_seconds}
    found = {name: value for name, value in given.items() if value is not None}
    if anew and found and most is None:
        raise OptionError("Autoscaling needs its upper bound.", "Add --max-replicas N.")
    return found or None
