"""`quickalign jobs`: what the server trains, has trained, and will train."""

# ruff: noqa: PLC0415 - what takes long to import is imported by the command that needs it

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, get_args

import typer

from quickalign.cli import arguments as take
from quickalign.cli.connect import confirm, connect
from quickalign.cli.help import HelpfulCommand, HelpfulGroup
from quickalign.cli.terminal import screen, write_json
from quickalign.core.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quickalign.core.wire.jobs import Job, JobState, Kind
    from quickalign.sdk.follow import Item, Stream
    from quickalign.sdk.session import Session

JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id, as `quickalign jobs list` shows it.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until the job is over.")]

app = typer.Typer(cls=HelpfulGroup, no_args_is_help=True)


@app.callback()
def group() -> None:
    """Look at the server's jobs, stop them, and go on with them."""


@app.command("list", cls=HelpfulCommand)
def list_jobs(
    *,
    state: Annotated[
        list[str] | None, typer.Option("--state", help="Only jobs in this state; may be repeated.", show_default=False)
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="Only jobs of this model.", show_default=False)] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", help="Only train, evaluate or export jobs; may be repeated.", show_default=False),
    ] = None,
    search: Annotated[
        str | None, typer.Option("--search", help="Only jobs with this text in name or id.", show_default=False)
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="KEY=VALUE", help="Only jobs with this label; may be repeated."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, newest first.")] = 20,
    json: take.AsJson = False,
) -> None:
    """List jobs, newest first."""
    from itertools import islice

    states, labels = [_state(name) for name in state or ()], take.pairs("--label", label)
    kinds = [_kind(name) for name in kind or ()]
    filters: dict[str, Any] = {"states": states, "kinds": kinds, "model": model, "text": search, "labels": labels}
    found = connect().jobs.all(**filters, page_size=min(limit + 1, 100))
    jobs = list(islice(found, limit + 1))
    if json:
        write_json(jobs[:limit])
        return
    from quickalign.cli.draw.jobs import jobs_view

    screen().print(jobs_view(jobs[:limit], more=len(jobs) > limit, filtered=any(filters.values())))


@app.command(cls=HelpfulCommand)
def show(job: JobId, *, json: take.AsJson = False) -> None:
    """Show one job: its state and the reason, its data and options, its checkpoints."""
    session = connect()
    found = session.jobs.get(job)
    if json:
        write_json(found)
        return
    from quickalign.cli.draw.jobs import job_view

    screen().print(job_view(found, session.jobs.checkpoints(job)), crop=False)


@app.command(cls=HelpfulCommand)
def watch(job: JobId, *, json: take.AsJson = False) -> None:
    """Watch a job until it is over, as `train` does; Ctrl-C stops the watching and leaves the job alone."""
    from quickalign.cli.watch.job import watch_job

    over = watch_job(connect(), job, as_json=json)
    if over.kind != "train" and not json:
        from quickalign.cli.draw.tasks import task_view

        screen().print(task_view(over))


@app.command(cls=HelpfulCommand)
def logs(
    job: JobId,
    *,
    follow: Follow = False,
    offset: Annotated[int, typer.Option("--offset", min=0, help="Begin at this byte.")] = 0,
    json: take.AsJson = False,
) -> None:
    """Show a job's log, over all attempts."""
    from quickalign.cli.watch.streams import show_log
    from quickalign.core.wire.pages import log_chunks

    session = connect()
    now = log_chunks(lambda at: session.jobs.logs(job, offset=at), offset)
    show_log(_followed(session, job, "logs", offset) if follow else now, as_json=json)


@app.command(cls=HelpfulCommand)
def events(
    job: JobId,
    *,
    follow: Follow = False,
    after: Annotated[int, typer.Option("--after", min=0, help="Begin after the event of this number.")] = 0,
    json: take.AsJson = False,
) -> None:
    """Show what happened to a job: states and their reasons, checkpoints, warnings, restarts."""
    from quickalign.cli.watch.streams import show_events
    from quickalign.core.wire.pages import all_events

    session = connect()
    now = all_events(lambda number: session.jobs.events(job, after=number), after)
    show_events(_followed(session, job, "events", after) if follow else now, as_json=json)


@app.command(cls=HelpfulCommand)
def metrics(
    job: JobId,
    *,
    kind: Annotated[
        Literal["steps", "evaluations"], typer.Option("--kind", help="Optimiser steps, or evaluations.")
    ] = "steps",
    last: Annotated[
        int | None, typer.Option("--last", min=1, help="Only so many, the latest ones.", show_default=False)
    ] = None,
    json: take.AsJson = False,
) -> None:
    """Show a job's figures, a line a step or an evaluation; `--json` has all of them."""
    from quickalign.sdk.training_job import TrainingJob

    lines = TrainingJob.get(job, connect()).metrics(kind)[-(last or 0) :]
    if json:
        write_json(lines)
        return
    from quickalign.cli.draw.jobs import metrics_view

    screen().print(metrics_view(lines, kind))


@app.command(cls=HelpfulCommand)
def cancel(job: JobId, *, json: take.AsJson = False) -> None:
    """Stop a job for good. A checkpoint of what it did is kept."""
    _show_change(connect().jobs.cancel(job), as_json=json)


@app.command(cls=HelpfulCommand)
def pause(job: JobId, *, json: take.AsJson = False) -> None:
    """Stop a job after its current step, until `resume`; its GPUs are free for others meanwhile."""
    _show_change(connect().jobs.pause(job), as_json=json)


@app.command(cls=HelpfulCommand)
def resume(job: JobId, *, json: take.AsJson = False) -> None:
    """Go on with a paused or failed job, from its last checkpoint."""
    _show_change(connect().jobs.resume(job), as_json=json)


@app.command(cls=HelpfulCommand)
def clone(
    job: JobId,
    *,
    changed: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="OPTION=VALUE", help="Change an option of `train`; may be repeated."),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="A name for people.", show_default=False)] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", help="Where results are copied; to where JOB's are otherwise.", show_default=False),
    ] = None,
    priority: Annotated[
        int | None, typer.Option("--priority", min=-100, max=100, help="Higher starts first.", show_default=False)
    ] = None,
    json: take.AsJson = False,
) -> None:
    """Make a job like JOB, on the same data, with some options changed.

    quickalign jobs clone JOB --set learning_rate=1e-4
    """
    options = take.pairs("--set", changed)
    session = connect()
    changes: dict[str, Any] = {}
    if options:
        from quickalign.core.options import parse

        merged = {**session.jobs.get(job).training.hyperparameters, **options}
        parse(merged)
        changes["spec"] = {"hyperparameters": merged}
    if output is not None:
        from quickalign.sdk.inputs import resolve_output

        changes["output"] = resolve_output(session, output)
    changes |= {key: value for key, value in (("name", name), ("priority", priority)) if value is not None}
    _show_change(session.jobs.clone(job, changes), as_json=json)


@app.command(cls=HelpfulCommand)
def delete(
    jobs: Annotated[list[str], typer.Argument(metavar="JOB", help="Ids of jobs that are over.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: take.AsJson = False,
) -> None:
    """Delete jobs that are over, with everything they left on the server: weights, checkpoints, reports."""
    session = connect()
    for job in jobs:  # where one is unknown, all stay
        session.jobs.get(job)
    if not yes:
        confirm(
            f"Delete {len(jobs)} {'job' if len(jobs) == 1 else 'jobs'} with trained weights, checkpoints and reports?"
        )
    for job in jobs:
        session.jobs.delete(job)
    if json:
        write_json({"deleted": jobs})
    else:
        screen().print("\n".join(f"Deleted {job}" for job in jobs), markup=False)


def _kind(name: str) -> Kind:
    from quickalign.core.wire.jobs import Kind

    known = get_args(Kind)
    if name not in known:
        raise OptionError(f"--kind {name!r} is none.", f"Use one of {', '.join(known)}.")
    return cast("Kind", name)


def _state(name: str) -> JobState:
    from quickalign.core.wire.jobs import JobState

    try:
        return JobState(name.lower())
    except ValueError:
        raise OptionError(f"--state {name!r} is no state of a job.", f"Take one of {', '.join(JobState)}.") from None


def _show_change(job: Job, *, as_json: bool) -> None:
    if as_json:
        write_json(job)
        return
    from quickalign.cli.draw.jobs import state_line

    screen().print(state_line(job), soft_wrap=True)


def _followed(session: Session, job: str, stream: Stream, start: int) -> Iterator[Item | None]:
    from quickalign.sdk.follow import follow

    session.jobs.get(job)  # one that there is not is told before anything is followed
    return follow(session.client, job, {stream: start})
