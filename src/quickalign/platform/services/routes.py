"""Where requests go: what the gateway asks for every request, answered from memory."""

import hashlib
import hmac
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session

from quickalign.core.wire.jobs import Reason
from quickalign.core.wire.services import Limits, ServiceMetrics, ServiceState
from quickalign.platform.db.engine import Database
from quickalign.platform.db.service_tables import ReplicaRow, RevisionRow, ServiceRow, ServiceTokenRow
from quickalign.platform.services.secrets import Secrets
from quickalign.platform.services.states import ReplicaState

_NOTHING = ServiceMetrics(requests=0, errors=0, open_requests=0, tokens_out=0)
OWN = "service"
"""What `verify` says of a service's own token."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A replica that answers: `base_url` is scheme, host and port; `limit` how many answers it takes at once."""

    replica_id: str
    revision: int
    base_url: str
    token: str
    limit: int


@dataclass(frozen=True, slots=True)
class Route:
    """A service as the gateway sees it. `replicas` are the ready ones of the revision that answers.

    `created_at` is when it was made; `stops_idle` says that it is stopped when nobody has asked it anything for a time.
    """

    service_id: str
    name: str
    state: ServiceState
    reason: Reason | None
    limits: Limits
    replicas: tuple[Upstream, ...]
    model_names: tuple[str, ...]
    created_at: float
    stops_idle: bool = False


@dataclass(frozen=True, slots=True)
class _Doors:
    """What opens a service: its own token, and the hashes of its named ones."""

    own: bytes
    named: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Table:
    """Everything at one moment; replaced as a whole, so that readers need no lock."""

    by_id: dict[str, Route] = field(default_factory=dict)
    by_name: dict[str, Route] = field(default_factory=dict)
    doors: dict[str, _Doors] = field(default_factory=dict)
    idle: frozenset[str] = frozenset()


def _no_requests(replica_id: str) -> int:
    return 0


def _no_metrics(service_id: str) -> ServiceMetrics:
    return _NOTHING


class Routes:
    """The services that there are, and the replicas that answer for them.

    Attributes:
        version: grows with every change, so that a gateway may cache.
        open_requests: how many requests are open on a replica; the gateway sets it, and the reconciler stops a replica
            only when there are none, or they lasted too long.
        metrics: what was counted for a service; the gateway sets it.
    """

    def __init__(self, database: Database, secrets: Secrets, clock: Callable[[], float]) -> None:
        self.version = 0
        self.open_requests: Callable[[str], int] = _no_requests
        self.metrics: Callable[[str], ServiceMetrics] = _no_metrics
        self.wake: Callable[[], None] = lambda: None
        self._database, self._secrets, self._clock = database, secrets, clock
        self._table = _Table()
        self._lock = threading.Lock()
        self._changed = threading.Condition()
        self._last: dict[str, float] = {}
        self._asked: set[str] = set()
        self._suspects: set[str] = set()
        self._held: frozenset[str] = frozenset()

    def find(self, name: str) -> Route | None:
        """The service of that name or id, or one that serves the model with that `ft:` id."""
        table = self._table
        return table.by_name.get(name) or table.by_id.get(name)

    def all(self) -> tuple[Route, ...]:
        """All services that are not deleted, newest first."""
        return tuple(self._table.by_id.values())

    def verify(self, service_id: str, text: str) -> str | None:
        """The id of the token of this service, `service` for its own; None where it opens nothing.

        Takes as long for a wrong token as for a right one.
        """
        doors = self._table.doors.get(service_id)
        given = text.encode("utf-8", "surrogatepass")
        digest = hashlib.sha256(given).hexdigest()
        if doors is None:
            return None
        found = OWN if hmac.compare_digest(given, doors.own) else None
        for token_id, sha256 in doors.named:
            if hmac.compare_digest(digest, sha256):
                found = token_id
        return found

    def touch(self, service_id: str) -> None:
        """A request came. A service that was stopped for want of them starts again."""
        self._last[service_id] = self._clock()
        if service_id in self._table.idle:
            self._asked.add(service_id)
            self.wake()

    def wait_ready(self, service_id: str, timeout: float) -> Route | None:
        """The service as soon as a replica of it answers; None where that takes longer. Zero seconds only look."""
        with self._changed:
            ready = self._changed.wait_for(lambda: self._has_replica(service_id), timeout)
        return self._table.by_id.get(service_id) if ready else None

    def sleeps(self, service_id: str) -> bool:
        """Whether a service is stopped for want of requests, and starts with the next one."""
        return service_id in self._table.idle

    def broken(self, replica_id: str) -> None:
        """A request to this replica failed in a way that says that it may be gone; it is looked at now."""
        self._suspects.add(replica_id)
        self.wake()

    def last_request(self, service_id: str) -> float | None:
        """When `touch` was called last."""
        return self._last.get(service_id)

    def take_suspects(self) -> set[str]:
        """The replicas told by `broken` since the last call."""
        found, self._suspects = self._suspects, set()
        return found

    def take_asked(self) -> set[str]:
        """The services that should start again since the last call."""
        found, self._asked = self._asked, set()
        return found

    def hold(self, replicas: set[str]) -> None:
        """Send no requests to these replicas, although they are not known to be gone."""
        self._held = frozenset(replicas)

    def refresh(self) -> None:
        """Read the tables again, and tell who waits."""
        with self._lock:
            with self._database.read() as session:
                table = self._read(session)
            if table == self._table:
                return
            self._table = table
            self.version += 1
            self._last = {service: at for service, at in self._last.items() if service in table.by_id}
        with self._changed:
            self._changed.notify_all()

    def _has_replica(self, service_id: str) -> bool:
        route = self._table.by_id.get(service_id)
        return route is not None and bool(route.replicas)

    def _read(self, session: Session) -> _Table:
        services = session.scalars(
            select(ServiceRow).where(ServiceRow.taken_name.is_not(None)).order_by(ServiceRow.number.desc())
        ).all()
        upstreams = self._upstreams(session)
        further = _further_names(session)
        routes = {row.id: self._route(row, upstreams, further.get((row.number, row.revision), ())) for row in services}
        names: dict[str, Route] = {}
        for route in routes.values():
            for name in route.model_names:
                known = names.get(name)
                if known is None or (route.replicas and not known.replicas):
                    names[name] = route
        names |= {route.name: route for route in routes.values()}
        idle = frozenset(row.id for row in services if row.idle and row.state == ServiceState.STOPPED)
        return _Table(routes, names, self._doors(session, list(services)), idle)

    def _route(self, row: ServiceRow, upstreams: dict[int, list[Upstream]], further: tuple[str, ...]) -> Route:
        replicas = tuple(one for one in upstreams.get(row.number, []) if one.revision == row.revision)
        reason = Reason.model_validate(row.reason) if row.reason else None
        limits = Limits.model_validate(row.limits)
        names, stops_idle = (row.name, *further), row.idle_stop_seconds is not None
        return Route(
            row.id, row.name, ServiceState(row.state), reason, limits, replicas, names, row.created_at, stops_idle
        )

    def _upstreams(self, session: Session) -> dict[int, list[Upstream]]:
        found: dict[int, list[Upstream]] = {}
        ready = select(ReplicaRow).where(ReplicaRow.state == ReplicaState.READY).order_by(ReplicaRow.created_at)
        for row in session.scalars(ready):
            if row.id in self._held or row.endpoint is None:
                continue
            token = self._secrets.replica_token(row.id, row.attempt)
            upstream = Upstream(row.id, row.revision, row.endpoint, token, row.answers or 1)
            found.setdefault(row.service, []).append(upstream)
        return found

    def _doors(self, session: Session, services: list[ServiceRow]) -> dict[str, _Doors]:
        named: dict[int, list[tuple[str, str]]] = {}
        columns = (ServiceTokenRow.service, ServiceTokenRow.id, ServiceTokenRow.sha256)
        for number, token_id, sha256 in session.execute(select(*columns).where(ServiceTokenRow.revoked_at.is_(None))):
            named.setdefault(number, []).append((token_id, sha256))
        return {
            row.id: _Doors(
                self._secrets.service_token(row.id, row.token_generation).encode(),
                tuple(sorted(named.get(row.number, []))),
            )
            for row in services
        }


def _further_names(session: Session) -> dict[tuple[int, int | None], tuple[str, ...]]:
    """Names of what revisions serve besides their service's."""
    query = select(RevisionRow.service, RevisionRow.number, RevisionRow.source).where(RevisionRow.job.is_not(None))
    return {(service, number): tuple(source.get("names", ())) for service, number, source in session.execute(query)}
