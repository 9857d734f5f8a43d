"""`quickalign services`: what answers on the server, and how to change and end it."""

# ruff: noqa: PLC0415 - what takes long to import is imported by the command that needs it

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from quickalign.cli import arguments as take
from quickalign.cli import service_options as serve
from quickalign.cli.connect import confirm, connect
from quickalign.cli.help import HelpfulCommand, HelpfulGroup
from quickalign.cli.terminal import screen, write_json
from quickalign.core.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quickalign.core.wire.services import Service, ServiceState
    from quickalign.sdk.follow import Item, Stream
    from quickalign.sdk.service_wait import Condition
    from quickalign.sdk.session import Session

app = typer.Typer(cls=HelpfulGroup, no_args_is_help=True)


@app.callback()
def group() -> None:
    """Look at the server's services, change them without a failed request, and delete them."""


@app.command("list", cls=HelpfulCommand)
def list_services(
    *,
    state: Annotated[
        list[str] | None, typer.Option("--state", help="Only in this state; may be repeated.", show_default=False)
    ] = None,
    search: Annotated[
        str | None, typer.Option("--search", help="Only with this text in name or id.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, newest first.")] = 20,
    json: take.AsJson = False,
) -> None:
    """List services, newest first; deleted ones with `--state deleted`."""
    from itertools import islice

    states = [_state(name) for name in state or ()]
    found = list(islice(connect().services.all(states=states, text=search), limit + 1))
    if json:
        write_json(found[:limit])
        return
    from quickalign.cli.draw.services import services_view

    screen().print(services_view(found[:limit], more=len(found) > limit, filtered=bool(states or search)))


@app.command(cls=HelpfulCommand)
def show(name: serve.Name, *, json: take.AsJson = False) -> None:
    """Show one service: its state and the reason, what it serves and has proved, its replicas."""
    session = connect()
    service = session.services.get(name)
    if json:
        write_json(service)
        return
    from quickalign.cli.draw.services import service_view

    screen().print(service_view(service, session.endpoint), crop=False)


@app.command(cls=HelpfulCommand)
def start(name: serve.Name, *, detach: serve.Detach = False, json: take.AsJson = False) -> None:
    """Start a service that is stopped, and wait until it answers."""
    from quickalign.sdk.service_wait import answers

    session = connect()
    _show_change(session, session.services.start(name), answers, detach=detach, as_json=json)


@app.command(cls=HelpfulCommand)
def stop(name: serve.Name, *, detach: serve.Detach = False, json: take.AsJson = False) -> None:
    """Stop a service's processes until `start`; its name, tokens and revisions stay."""
    from quickalign.sdk.service_wait import is_stopped

    session = connect()
    _show_change(session, session.services.stop(name), is_stopped, detach=detach, as_json=json)


@app.command(cls=HelpfulCommand)
def scale(
    name: serve.Name,
    replicas: Annotated[int, typer.Argument(metavar="REPLICAS", min=1, max=64, help="Processes that answer.")],
    *,
    detach: serve.Detach = False,
    json: take.AsJson = False,
) -> None:
    """Run so many replicas; requests are spread over them."""
    from quickalign.core.wire.services import ServiceUpdate
    from quickalign.sdk.service_wait import has_replicas

    session = connect()
    service = session.services.update(name, ServiceUpdate(replicas=replicas))
    _show_change(session, service, has_replicas(replicas), detach=detach, as_json=json)


@app.command(cls=HelpfulCommand)
@serve.with_service_options
def update(
    name: serve.Name,
    source: Annotated[
        str | None, typer.Argument(metavar="SOURCE", help="What to serve from now on, as `deploy` takes it.")
    ] = None,
    *,
    adapter: serve.Adapter = None,
    checkpoint: serve.Checkpoint = None,
    model_revision: serve.ModelRevision = None,
    label: serve.Labels = None,
    unset: serve.Unset = None,
    detach: serve.Detach = False,
    json: take.AsJson = False,
    options: dict[str, Any],
) -> None:
    """Serve something else, or otherwise, under the same name. What is left out stays.

    quickalign services update first runs/second
    quickalign services update first --idle-stop 600 --unset system-prompt

    The old revision answers until the new one has proved itself; one that fails its checks changes nothing.
    """
    from quickalign.sdk.service_request import resolve_source, service_change

    part = {"adapter": adapter, "checkpoint": checkpoint, "model_revision": model_revision}
    if source is None and (lost := [name for name, value in part.items() if value is not None]):
        raise OptionError(f"--{lost[0].replace('_', '-')} needs SOURCE, what it belongs to.", "Name it after NAME.")
    changes = serve.fields_of(options, anew=False)
    if labels := take.pairs("--label", label):
        changes["labels"] = labels
    changes = serve.with_unset(changes, unset)
    session = connect()
    if source is not None:
        found = {**resolve_source(session, source, adapter), "checkpoint": checkpoint, "model_revision": model_revision}
        changes["source"] = {key: value for key, value in found.items() if value is not None}
    request = service_change(session.services.get(name), changes)
    _show_revision(
        session, session.services.update(name, request), waits=request.spec is not None and not detach, as_json=json
    )


@app.command(cls=HelpfulCommand)
def rollback(name: serve.Name, *, detach: serve.Detach = False, json: take.AsJson = False) -> None:
    """Go back to the revision before, without a failed request."""
    session = connect()
    _show_revision(session, session.services.rollback(name), waits=not detach, as_json=json)


@app.command(cls=HelpfulCommand)
def logs(
    name: serve.Name,
    *,
    replica: Annotated[
        str | None, typer.Option("--replica", help="Only this replica's, as `show` names it.", show_default=False)
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes; Ctrl-C ends it.")] = False,
    offset: Annotated[int, typer.Option("--offset", min=0, help="Begin at this byte.")] = 0,
    json: take.AsJson = False,
) -> None:
    """Show a service's log."""
    from quickalign.cli.watch.streams import show_log
    from quickalign.core.wire.pages import log_chunks

    session = connect()
    query = {"replica": replica} if replica else {}
    now = log_chunks(lambda at: session.services.logs(name, replica=replica, offset=at), offset)
    show_log(_followed(session, name, "logs", offset, query) if follow else now, as_json=json)


@app.command(cls=HelpfulCommand)
def events(
    name: serve.Name,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes; Ctrl-C ends it.")] = False,
    after: Annotated[int, typer.Option("--after", min=0, help="Begin after the event of this number.")] = 0,
    json: take.AsJson = False,
) -> None:
    """Show what happened to a service: states and their reasons, revisions, restarts."""
    from quickalign.cli.watch.streams import show_events
    from quickalign.core.wire.pages import all_events

    session = connect()
    now = all_events(lambda number: session.services.events(name, after=number), after)
    show_events(_followed(session, name, "events", after, {}) if follow else now, as_json=json)


@app.command(cls=HelpfulCommand)
def metrics(name: serve.Name, *, json: take.AsJson = False) -> None:
    """Show what the server has counted: requests, errors, tokens, and how fast they came."""
    found = connect().services.metrics(name)
    if json:
        write_json(found)
        return
    from quickalign.cli.draw.services import metrics_view

    screen().print(metrics_view(name, found))


@app.command(cls=HelpfulCommand)
def delete(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="Names of services.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: take.AsJson = False,
) -> None:
    """Delete services, and show that their processes, ports, memory and files are gone."""
    from quickalign.cli.draw.services import removal_view
    from quickalign.cli.watch.service import watch_service
    from quickalign.sdk.service_wait import is_deleted

    session = connect()
    for name in names:  # where one is unknown, all stay
        session.services.get(name)
    if not yes:
        confirm(f"Delete {', '.join(names)}? Who asks {'it' if len(names) == 1 else 'them'} gets no answer any more.")
    gone = [watch_service(session, session.services.delete(name), is_deleted) for name in names]
    if json:
        write_json(gone)
    else:
        screen().print(*(removal_view(service) for service in gone), sep="\n")


def _show_change(session: Session, service: Service, holds: Condition, *, detach: bool, as_json: bool) -> None:
    from quickalign.cli.draw.services import state_line
    from quickalign.cli.watch.service import watch_service

    if not detach:
        service = watch_service(session, service, holds)
    if as_json:
        write_json(service)
    else:
        screen().print(state_line(service), soft_wrap=True)


def _show_revision(session: Session, service: Service, *, waits: bool, as_json: bool) -> None:
    """Show a change of revision; a stopped service takes it up when it is started."""
    from quickalign.core.wire.services import ServiceState
    from quickalign.sdk.service_wait import serves

    stopped = service.state in (ServiceState.STOPPED, ServiceState.STOPPING)
    _show_change(session, service, serves(service.target), detach=stopped or not waits, as_json=as_json)


def _state(name: str) -> ServiceState:
    from quickalign.core.wire.services import ServiceState

    try:
        return ServiceState(name.lower())
    except ValueError:
        known = ", ".join(ServiceState)
        raise OptionError(f"--state {name!r} is no state of a service.", f"Take one of {known}.") from None


def _followed(session: Session, name: str, stream: Stream, start: int, query: dict[str, str]) -> Iterator[Item | None]:
    from quickalign.sdk.follow import follow

    return follow(session.client, session.services.get(name).id, {stream: start}, kind="services", query=query)
