"""What can be asked of services. A call changes rows and wakes the reconciler, which alone has to do with processes."""

from collections.abc import Callable, Sequence

from sqlalchemy import func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from quickalign.core.errors import ConflictError, ModelError, NotFoundError, OptionError
from quickalign.core.wire.base import Page
from quickalign.core.wire.jobs import Event, LogChunk, Reason
from quickalign.core.wire.services import (
    RevisionSpec,
    Service,
    ServiceCreate,
    ServiceMetrics,
    ServiceState,
    ServiceUpdate,
)
from quickalign.platform import ids, keys
from quickalign.platform.config import Config
from quickalign.platform.crashpoints import reach
from quickalign.platform.db.engine import Database
from quickalign.platform.db.service_tables import RevisionRow, ServiceEventRow, ServiceRow
from quickalign.platform.db.tables import KeyRow
from quickalign.platform.devices import Device
from quickalign.platform.executors.base import Executor
from quickalign.platform.home import Home
from quickalign.platform.jobs import reading
from quickalign.platform.queue.admission import Shared
from quickalign.platform.services import logs, moves, needs, revisions
from quickalign.platform.services.logs import ReplicaLog
from quickalign.platform.services.records import to_event, to_services
from quickalign.platform.services.routes import Routes
from quickalign.platform.services.shared import adapter_bytes, shared_of
from quickalign.platform.services.sources import Frozen, Sources
from quickalign.platform.services.states import UP
from quickalign.platform.services.tokens import ServiceTokens
from quickalign.platform.services.usage import Usage

S = ServiceState
_MAX_PAGE = 1000
_STOPPED = Reason(code="user", message="It was stopped; start brings it back.")
_DELETING = Reason(code="user", message="It is being deleted; its processes end first.")


class Services:
    """The services of this home.

    Attributes:
        endpoints: where requests go, for the gateway.
        tokens: what opens one service.
    """

    def __init__(
        self,
        *,
        home: Home,
        config: Config,
        database: Database,
        executor: Executor,
        sources: Sources,
        usage: Usage,
        endpoints: Routes,
        tokens: ServiceTokens,
        devices: tuple[Device, ...],
        on_cluster: bool,
        clock: Callable[[], float],
        wake: Callable[[], None],
    ) -> None:
        self.endpoints, self.tokens = endpoints, tokens
        self._home, self._config, self._database, self._executor = home, config, database, executor
        self._sources, self._usage, self._devices = sources, usage, devices
        self._on_cluster = on_cluster
        self._clock, self._wake = clock, wake

    def create(self, request: ServiceCreate, *, idempotency_key: str | None = None) -> Service:
        """Make a service, which starts as soon as there is room.

        With an `idempotency_key` the same request makes one service, however often it is sent.

        Raises:
            OptionError, ModelError, CapacityError, AccessError, NotFoundError: it cannot be served here.
            ConflictError: the name is taken, the job has not succeeded, or the key was used for another request.
        """
        fingerprint = keys.fingerprint(request)
        if idempotency_key is not None and (earlier := self._earlier(idempotency_key, fingerprint)):
            return earlier
        gpus = needs.gpus_of(request.gpus, self._devices)
        with self._usage.lock:
            source, memory, shared = self._resolved(request.spec, gpus)
            needs.check_room(memory, request.replicas, gpus, self._devices, shared.memory_bytes if shared else None)
            reach("service.create.frozen")
            row = _new_service(request, gpus, self._clock())
            revision = revisions.new(1, request.spec, source, memory, shared, row.created_at)
            if (earlier := self._insert(row, revision, idempotency_key, fingerprint)) is not None:
                return earlier
        reach("service.create.done")
        self._changed()
        return self.get(row.id)

    def get(self, name: str) -> Service:
        """One service by its name or id; a deleted one by its id.

        Raises:
            NotFoundError: there is none.
        """
        with self._database.read() as session:
            return to_services(session, [_row(session, name)])[0]

    def list(
        self,
        *,
        states: Sequence[ServiceState | str] = (),
        text: str | None = None,
        after: str | None = None,
        limit: int = 20,
    ) -> Page[Service]:
        """Services, newest first; deleted ones only where that state is asked for.

        Args:
            states: only those in one of these.
            text: only those whose name or id contains it.
            after: the id of the last service of the page before.
        """
        count = max(1, min(limit, _MAX_PAGE))
        query = select(ServiceRow).order_by(ServiceRow.number.desc()).limit(count + 1)
        if states:
            query = query.where(ServiceRow.state.in_([_state(state) for state in states]))
        else:
            query = query.where(ServiceRow.state != S.DELETED)
        if text:
            columns = (ServiceRow.name, ServiceRow.id)
            query = query.where(or_(*(column.icontains(text, autoescape=True) for column in columns)))
        with self._database.read() as session:
            if after is not None:
                query = query.where(ServiceRow.number < _row(session, after).number)
            rows = session.scalars(query).all()
            items = to_services(session, rows[:count])
        return Page(items=items, next=items[-1].id if len(rows) > count else None)

    def update(self, name: str, changes: ServiceUpdate) -> Service:
        """Change a service. Another `spec` makes a revision, which takes over when it has proved itself; so does the
        same one where its folders hold other files by now. Where they are gone and something else is changed, too, the
        revision stays.

        Raises:
            NotFoundError; as `create`; ConflictError: it is being deleted.
        """
        with self._usage.lock:
            with self._database.read() as session:
                row = _row(session, name)
                target = revisions.get(session, row, row.target)
            _check_there(row)
            source, memory, shared = None, target.memory_bytes, None
            in_common = target.shared_bytes
            if (found := self._renewed(changes, row.gpus, target)) is not None:
                source, memory, shared = found
                in_common = shared.memory_bytes if shared else None
            needs.check_room(memory, changes.replicas or row.wanted_replicas, row.gpus, self._devices, in_common)
            with self._database.write() as session:
                row = moves.find(session, row.id)
                _check_there(row)
                now = self._clock()
                if changes.spec is not None and source is not None:
                    number = revisions.last(session, row) + 1
                    made = revisions.new(number, changes.spec, source, memory, shared, now)
                    made.service = row.number
                    session.add(made)
                    session.flush()
                    revisions.aim(session, row, made.number, self._config, now, "An update was asked for.")
                _adjust(session, row, changes, self._config, now)
        reach("service.updated")
        self._changed()
        return self.get(row.id)

    def rollback(self, name: str) -> Service:
        """Go back to the revision that answered before; while an update is under way, it is given up.

        Raises:
            NotFoundError; ConflictError: there is none to go back to, or it is being deleted.
        """
        with self._database.write() as session:
            row = moves.find(session, name)
            _check_there(row)
            number = revisions.before(session, row)
            if number is None:
                raise ConflictError(
                    f"The service {row.name!r} has no earlier revision that has answered.",
                    "`quickalign services update` takes another model.",
                    field="name",
                    value=name,
                )
            revisions.aim(session, row, number, self._config, self._clock(), "A rollback was asked for.")
        reach("service.rolled_back")
        self._changed()
        return self.get(row.id)

    def start(self, name: str) -> Service:
        """Start a service that is stopped or has failed. Asking twice changes nothing.

        Raises:
            NotFoundError; ConflictError: it is being deleted.
        """
        with self._database.write() as session:
            row = moves.find(session, name)
            _check_there(row)
            if S(row.state) not in UP:
                revisions.try_again(session, row)
                moves.move(session, row, S.PENDING, self._config, self._clock(), idle=False)
        reach("service.started")
        self._changed()
        return self.get(row.id)

    def stop(self, name: str) -> Service:
        """Stop a service: open answers may finish. Asking twice changes nothing.

        Raises:
            NotFoundError; ConflictError: it is being deleted.
        """
        with self._database.write() as session:
            row = moves.find(session, name)
            _check_there(row)
            now = self._clock()
            if S(row.state) in UP or row.state == S.FAILED:
                moves.move(session, row, S.STOPPING, self._config, now, reason=_STOPPED, idle=False)
            elif row.idle:
                reason = _STOPPED.model_dump(exclude_none=True)
                moves.change(row, now, idle=False, reason=reason)
        reach("service.stopped")
        self._changed()
        return self.get(row.id)

    def delete(self, name: str) -> Service:
        """Delete a service: open answers may finish, then everything goes, and what went is kept as `removal`.

        Asking twice changes nothing.

        Raises:
            NotFoundError.
        """
        with self._database.write() as session:
            row = moves.find(session, name)
            if S(row.state) not in (S.DELETING, S.DELETED):
                now = self._clock()
                moves.move(session, row, S.DELETING, self._config, now, reason=_DELETING, idle=False, removal=None)
        reach("service.deleting")
        self._changed()
        return self.get(row.id)

    def events(self, name: str, *, after: int = 0, limit: int = 100) -> Page[Event]:
        """Events with a sequence above `after`, in order; `next` is the last one's, as text."""
        count = max(1, min(limit, _MAX_PAGE))
        with self._database.read() as session:
            number = _row(session, name).number
            query = select(ServiceEventRow).where(ServiceEventRow.service == number, ServiceEventRow.sequence > after)
            rows = session.scalars(query.order_by(ServiceEventRow.sequence).limit(count)).all()
        return Page(items=tuple(map(to_event, rows)), next=str(rows[-1].sequence if rows else after))

    def logs(self, name: str, *, replica: str | None = None, offset: int = 0, limit: int = 65536) -> LogChunk:
        """A piece of what a replica said, over all its starts: one that is there, or the last that was.

        Raises:
            NotFoundError: there is no such service or replica.
        """
        found = self.replica_of_log(name, replica)
        return reading.read_log(found.files, offset, limit, over=found.is_over)

    def replica_of_log(self, name: str, replica: str | None) -> ReplicaLog:
        """Whose log `logs` reads.

        Raises:
            NotFoundError: there is no such service or replica.
        """
        with self._database.read() as session:
            row = _row(session, name)
            living = logs.living(session, row)
        return logs.find(self._executor, self._home, row, living, replica)

    def metrics(self, name: str) -> ServiceMetrics:
        """What the gateway has counted for the service since the server started."""
        with self._database.read() as session:
            return self.endpoints.metrics(_row(session, name).id)

    def count(self) -> dict[str, int]:
        """The number of services by state; every state is named."""
        with self._database.read() as session:
            found = session.execute(select(ServiceRow.state, func.count()).group_by(ServiceRow.state))
            return {str(state): 0 for state in S} | {str(state): int(count) for state, count in found}

    def _renewed(
        self, changes: ServiceUpdate, gpus: int, target: RevisionRow
    ) -> tuple[Frozen, int, Shared | None] | None:
        """What a new revision is to serve; None where `target` serves it, or is all that is left of it."""
        if changes.spec is None:
            return None
        serves = Frozen.model_validate(target.source)
        same_spec = changes.spec == RevisionSpec.model_validate(target.spec)
        try:
            found = self._resolved(changes.spec, gpus, serves)
        except (NotFoundError, ModelError):
            if same_spec and changes.model_fields_set != {"spec"}:  # such as a checkpoint that is deleted by now
                return None
            raise
        return None if same_spec and found[0].holds_as(serves) else found

    def _resolved(
        self, spec: RevisionSpec, gpus: int, known: Frozen | None = None
    ) -> tuple[Frozen, int, Shared | None]:
        revisions.check_engine(spec)
        revisions.check_scaling(spec, on_cluster=self._on_cluster)
        with self._database.read() as session:
            source = self._sources.freeze(session, spec.source, known)
        shared = shared_of(spec, source, gpus, on_cluster=self._on_cluster)
        memory = needs.memory_of(spec, source, gpus) + (adapter_bytes(source) if shared else 0)
        return source, memory, shared

    def _insert(self, row: ServiceRow, revision: RevisionRow, key: str | None, fingerprint: str) -> Service | None:
        """Write the service with its first revision; or give the one that the key made in the meantime."""
        try:
            with self._database.write() as session:
                if key is not None:
                    made = KeyRow(key=key, fingerprint=fingerprint, made=row.id, created_at=row.created_at)
                    session.add(made)
                session.add(row)
                session.flush()
                revision.service = row.number
                session.add(revision)
                data = {"to": row.state, "revision": 1}
                moves.append(session, row, "state", "The service is pending.", data, self._config, row.created_at)
        except IntegrityError:
            if key is not None and (earlier := self._earlier(key, fingerprint)):
                return earlier
            raise ConflictError(
                f"There is a service {row.name!r} already.",
                "Choose another name, update that one, or delete it first.",
                field="name",
                value=row.name,
            ) from None
        return None

    def _earlier(self, key: str, fingerprint: str) -> Service | None:
        with self._database.read() as session:
            made = keys.made_by(session, key, fingerprint)
            return None if made is None else to_services(session, [_row(session, made)])[0]

    def _changed(self) -> None:
        self.endpoints.refresh()
        self._wake()


def _new_service(request: ServiceCreate, gpus: int, now: float) -> ServiceRow:
    return ServiceRow(
        id=ids.new("service"),
        name=request.name,
        taken_name=request.name,
        state=str(S.PENDING),
        version=0,
        target=1,
        wanted_replicas=request.replicas,
        gpus=gpus,
        limits=request.limits.model_dump(mode="json"),
        idle_stop_seconds=request.idle_stop_seconds,
        idle=False,
        labels=dict(request.metadata),
        token_generation=1,
        events=0,
        created_at=now,
        updated_at=now,
    )


def _row(session: Session, name: str) -> ServiceRow:
    row = session.scalar(select(ServiceRow).where(or_(ServiceRow.id == name, ServiceRow.taken_name == name)))
    if row is None:
        raise moves.missing(name)
    return row


def _check_there(row: ServiceRow) -> None:
    if row.state in (S.DELETING, S.DELETED):
        raise ConflictError(
            f"The service {row.name!r} is {row.state}.", "Make a new one.", field="state", value=row.state
        )


def _adjust(session: Session, row: ServiceRow, changes: ServiceUpdate, config: Config, now: float) -> None:
    """Change what needs no new revision: as many of these as were given."""
    given = changes.model_fields_set - {"spec"}
    if changes.replicas is not None and changes.replicas != row.wanted_replicas:
        message = f"{changes.replicas} replicas are wanted, {row.wanted_replicas} were."
        moves.append(session, row, "notice", message, {"replicas": changes.replicas}, config, now)
        moves.change(row, now, wanted_replicas=changes.replicas)
    if changes.limits is not None:
        moves.change(row, now, limits=changes.limits.model_dump(mode="json"))
    if "idle_stop_seconds" in given:
        moves.change(row, now, idle_stop_seconds=changes.idle_stop_seconds)
    if changes.metadata is not None:
        moves.change(row, now, labels=dict(changes.metadata))


def _state(state: ServiceState | str) -> str:
    try:
        return str(S(state))
    except ValueError:
        raise OptionError(
            f"There is no state {state!r}.",
            f"Use one of {', '.join(S)}.",
            field="state",
            value=state,
        ) from None
