"""What commands that make jobs have in common: the options of a job, and watching it or not."""

# ruff: noqa: PLC0415 - what takes long to import is imported by the command that needs it

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from quickalign.cli import arguments as take
from quickalign.cli.terminal import screen, write_json
from quickalign.core.errors import OptionError

if TYPE_CHECKING:
    from quickalign.core.wire.jobs import Job
    from quickalign.sdk.session import Session

_JOB = "The job"

Local = Annotated[bool, typer.Option("--local", help="Do it in this process, without a server.")]
Detach = Annotated[bool, typer.Option("--detach", help="Return as soon as the job is made.", rich_help_panel=_JOB)]
Name = Annotated[
    str | None,
    typer.Option("--name", help="A name for people; made up when missing.", show_default=False, rich_help_panel=_JOB),
]
Gpus = Annotated[
    int | None,
    typer.Option(
        "--gpus",
        min=0,
        max=64,
        help="GPUs to use; 0 uses the CPU. By default one, where the server has one.",
        show_default=False,
        rich_help_panel=_JOB,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        max=1024,
        help="Processes that train together, each with its GPUs; more than 1 needs a server with a cluster.",
        show_default=False,
        rich_help_panel=_JOB,
    ),
]
Priority = Annotated[
    int | None,
    typer.Option(
        "--priority", min=-100, max=100, help="Higher starts first.", show_default=False, rich_help_panel=_JOB
    ),
]
Retries = Annotated[
    int | None,
    typer.Option(
        "--max-retries",
        min=0,
        max=20,
        help="Restarts after a crash (3 by default); each goes on where the last one was.",
        show_default=False,
        rich_help_panel=_JOB,
    ),
]
Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--label", metavar="KEY=VALUE", help="A label; may be repeated.", show_default=False, rich_help_panel=_JOB
    ),
]


def job_values(
    name: str | None, gpus: int | None, priority: int | None, max_retries: int | None, label: list[str] | None
) -> dict[str, Any]:
    """The options of a job as the fields of its request; those that were not given are None."""
    return {
        "name": name,
        "gpus": gpus,
        "priority": priority,
        "max_retries": max_retries,
        "metadata": take.pairs("--label", label) or None,
    }


def refuse_for_local(job: dict[str, Any], *, detach: bool) -> None:
    """Refuse options of a job where there is none.

    Raises:
        OptionError: names the first.
    """
    refuse({**job, "detach": detach or None, "label": job["metadata"]}, "--local", "Leave one of them out.")


def refuse(options: dict[str, Any], because: str, remedy: str) -> None:
    """Refuse options that have no effect.

    Raises:
        OptionError: names the first.
    """
    if useless := [name for name, value in options.items() if value is not None and name != "metadata"]:
        raise OptionError(f"--{useless[0].replace('_', '-')} has no effect with {because}.", remedy)


def show_made(made: Job, *, as_json: bool) -> None:
    """Say that a job was made, and how to watch it."""
    if as_json:
        write_json(made)
    else:
        screen().print(f"{made.id}  {made.state.value}  `quickalign jobs watch {made.id}`", soft_wrap=True)


def finish(session: Session, made: Job, *, as_json: bool) -> Job:
    """Watch the job until it is over, in silence for `as_json`; returns its record.

    Raises:
        QuickalignError: it failed, or did not run to its end.
    """
    from quickalign.core.errors import Interrupted
    from quickalign.core.wire.jobs import JobState

    if not as_json:
        from quickalign.cli.watch.job import watch_job

        return watch_job(session, made.id, as_json=False)
    from quickalign.sdk.training_job import TrainingJob

    job = TrainingJob(made, session)
    job.wait(interval=0.5, show_logs=False)
    if job.state is not JobState.SUCCEEDED:
        raise Interrupted(f"Job {job.id} was cancelled.", f"`quickalign jobs clone {job.id}` makes another like it.")
    return job.record
