"""What `deploy` and `services update` both take: what is served, and how."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from quickalign.core.hyperparameters import Precision
from quickalign.core.wire.services import EngineChoice, RevisionSpec, ServiceCreate, Source, Weights

_HOW = "How it is served"
_LIMITS = "Limits"


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
Labels = Annotated[
    list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="A label; may be repeated.", show_default=False)
]
Detach = Annotated[bool, typer.Option("--detach", help="Return at once instead of waiting.")]
