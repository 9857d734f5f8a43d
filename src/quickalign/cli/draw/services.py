"""Services of a server: the list, one in full, its figures and tokens, and what deleting one has freed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.text import Text

from quickalign.cli.draw import parts
from quickalign.cli.words import count, duration, printable, rate, size
from quickalign.core.wire.services import (
    Autoscaling,
    Revision,
    Service,
    ServiceMetrics,
    ServiceState,
    ServiceToken,
    Source,
)

_STYLES = {
    ServiceState.PENDING: "label",
    ServiceState.STARTING: "path",
    ServiceState.RUNNING: "good",
    ServiceState.UPDATING: "path",
    ServiceState.STOPPING: "caution",
    ServiceState.STOPPED: "caution",
    ServiceState.DELETING: "caution",
    ServiceState.DELETED: "label",
    ServiceState.FAILED: "bad",
}


def services_view(services: Sequence[Service], *, more: bool, filtered: bool) -> RenderableType:
    """Services, a line each."""
    if not services:
        return Text("No service matches." if filtered else "There are no services yet; `quickalign deploy` makes one.")
    table = parts.table("service", "state", "replicas", "engine", "serves", right=[2])
    for service in services:
        ready = sum(replica.state == "ready" for replica in service.replicas)
        table.add_row(
            parts.plain(service.name),
            _state(service),
            f"{ready}/{service.wanted_replicas}",
            _engine(shown_revision(service)),
            parts.plain(source_text(shown_revision(service).spec.source)),
        )
    note = count(len(services), "service") + ("; --limit shows more" if more else "") + "."
    return Group(table, "", Text(note, style="quiet"))


def service_view(service: Service, endpoint: str) -> Group:
    """One service in full."""
    blocks: list[RenderableType] = [parts.heading(service.name, service.id), parts.facts(_facts(service, endpoint))]
    if service.replicas:
        blocks += ["", parts.indented(_replicas(service))]
    if service.state is ServiceState.FAILED and service.reason:
        blocks += ["", parts.Signed("✗", service.reason.message, sign_style="bad", style="bold")]
    if service.removal:
        blocks += ["", removal_view(service)]
    return Group(*blocks)


def ready_view(service: Service, endpoint: str, seconds: float) -> Group:
    """A service that was just made: where it answers, what it has proved, and what to type next."""
    blocks: list[RenderableType] = [
        parts.heading(service.name, f"answers after {duration(seconds)}"),
        parts.facts(_facts(service, endpoint)),
        "",
        Text("  Try it:", style="label"),
        parts.Command(f"quickalign chat {service.name}"),
        parts.Command(f"quickalign services token {service.name}"),
        Text("  And when it is no longer needed:", style="label"),
        parts.Command(f"quickalign services delete {service.name}"),
    ]
    return Group(*blocks)


def state_line(service: Service) -> Text:
    """Where one service stands, on one line."""
    text = Text.assemble(f"{printable(service.name)}  ", _state(service))
    return text.append(f"  {printable(service.reason.message)}", style="quiet") if service.reason else text


def removal_view(service: Service) -> RenderableType:
    """What deleting has freed, each found gone by looking."""
    removal = service.removal
    line = Text.assemble(("✓ ", "good"), f"Deleted {printable(service.name)}.")
    if removal is None:
        return line
    processes = ", ".join(map(str, removal.processes)) or "it had none"
    ports = ", ".join(map(str, removal.ports)) or "it had none"
    facts: list[tuple[str, RenderableType]] = [
        ("processes gone", processes),
        ("ports free", ports),
        ("memory freed", size(removal.memory_bytes)),
        ("folder gone", Text(printable(removal.folder), style="path")),
    ]
    return Group(line, parts.facts(facts))


def metrics_view(name: str, metrics: ServiceMetrics) -> Group:
    """What the server has counted for a service."""
    return Group(parts.heading(name, "since the server started"), parts.facts(_figures(metrics)))


def tokens_view(name: str, tokens: Sequence[ServiceToken]) -> RenderableType:
    """The tokens with names, without their texts."""
    if not tokens:
        return Text(f"{name} has no token but its own.")
    table = parts.table("token", "name", "made", "")
    for token in tokens:
        made = f"{datetime.fromtimestamp(token.created_at).astimezone():%Y-%m-%d %H:%M}"
        revoked = Text("revoked", style="caution") if token.revoked_at else Text("")
        table.add_row(token.id, parts.plain(token.name), made, revoked)
    return table


def source_text(source: Source) -> str:
    """What is served, in a few words."""
    at = f" at step {source.checkpoint:,}" if source.checkpoint else ""
    base = source.job or source.model or ""
    revision = f" at {source.model_revision}" if source.model_revision else ""
    return printable(base + revision + (f" + {source.adapter}" if source.adapter else "") + at)


def shown_revision(service: Service) -> Revision:
    """The revision that answers, else the one that is wanted."""
    by_number = {revision.number: revision for revision in service.revisions}
    return by_number.get(service.revision or service.target) or service.revisions[0]


def _facts(service: Service, endpoint: str) -> Iterator[tuple[str, RenderableType]]:
    state = _state(service)
    if service.reason and service.state is not ServiceState.FAILED:
        state.append(f"  {printable(service.reason.message)}", style="quiet")
    yield "state", state
    revision = shown_revision(service)
    yield "serves", source_text(revision.spec.source)
    if service.state is not ServiceState.DELETED:
        yield "endpoint", Text(endpoint + service.path, style="path")
        yield "chat page", Text(endpoint + service.path.removesuffix("v1"), style="path")
    if revision.engine:
        yield "engine", _engine(revision)
    if revision.weights_bytes:
        yield "weights", size(revision.weights_bytes)
    if revision.shared_base:
        keepers = sorted({each.keeper for each in service.replicas if each.keeper is not None})
        kept = f", kept by process {', '.join(map(str, keepers))}" if keepers else ""
        yield "shares", f"{printable(revision.shared_base)}{kept}"
    if revision.spec.autoscaling:
        yield "scales", _scaling(revision.spec.autoscaling)
    if revision.proof:
        yield "proof", _proof(revision)
    if len(service.revisions) > 1:
        yield "revisions", _revisions(service)
    if limits := _limits(service):
        yield "limits", limits
    if service.metadata:
        yield "labels", ", ".join(f"{key}={printable(value)}" for key, value in service.metadata.items())


def _replicas(service: Service) -> RenderableType:
    table = parts.table("replica", "revision", "state", "process", "port", "memory", "restarts", right=[1, 3, 4, 5, 6])
    for each in service.replicas:
        state = Text(each.state, style="good" if each.state == "ready" else "caution")
        if each.reason:
            state.append(f"  {printable(each.reason.message)}", style="quiet")
        memory = size(each.memory_bytes) if each.memory_bytes else "–"
        table.add_row(each.id, str(each.revision), state, _or_dash(each.pid), _or_dash(each.port), memory,
                      str(each.restarts))  # fmt: skip
    return table


def _proof(revision: Revision) -> Text:
    text = Text()
    for index, check in enumerate(revision.proof):
        sign, style = ("✓ ", "good") if check.passed else ("✗ ", "bad")
        text.append("\n" if index else "").append(sign, style=style).append(printable(check.name))
        text.append(f"  {printable(check.seen)}", style="quiet")
    return text


def _revisions(service: Service) -> Text:
    text = Text()
    for index, revision in enumerate(service.revisions):
        text.append("\n" if index else "").append(f"{revision.number} {revision.state}")
        detail = revision.reason.message if revision.reason else source_text(revision.spec.source)
        text.append(f"  {printable(detail)}", style="quiet")
    return text


def _limits(service: Service) -> str:
    limits, found = service.limits, []
    if limits.requests_per_minute:
        found.append(f"{count(limits.requests_per_minute, 'request')} a minute for each token")
    if limits.concurrency:
        found.append(f"{limits.concurrency:,} at once for each token")
    if service.idle_stop_seconds:
        found.append(f"stops after {duration(service.idle_stop_seconds)} without a request")
    return ", ".join(found)


def _scaling(bounds: Autoscaling) -> str:
    each = count(bounds.ongoing_requests, "open request")
    most = count(bounds.max, "replica")
    return f"from {bounds.min} to {most}, by {each} each, down after {duration(bounds.quiet_seconds)}"


def _figures(metrics: ServiceMetrics) -> Iterator[tuple[str, RenderableType]]:
    yield "requests", f"{metrics.requests:,}, {metrics.errors:,} of them with an error, {metrics.open_requests:,} open"
    yield "tokens", f"{metrics.tokens_out:,} written"
    first = [metrics.time_to_first_token_p50, metrics.time_to_first_token_p95]
    if first[0] is not None:
        shown = ["–" if value is None else f"{1000 * value:,.0f} ms" for value in first]
        yield "first token", f"after {shown[0]} at the median, {shown[1]} at the 95th percentile"
    if metrics.tokens_per_second is not None:
        yield "speed", f"{rate(metrics.tokens_per_second)} tokens/s of one answer at the median"


def _engine(revision: Revision) -> str:
    if revision.engine is None:
        return "–"
    weights = "" if revision.spec.weights == "auto" else f" {revision.spec.weights}"
    return f"{revision.engine} {revision.precision or ''}{weights}".strip()


def _state(service: Service) -> Text:
    return Text(service.state.value, style=_STYLES[service.state])


def _or_dash(value: int | None) -> str:
    return "–" if value is None else str(value)
