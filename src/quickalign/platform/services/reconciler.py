"""One loop compares the services that are wanted with what is observed, and makes one move at a time.

Every move is a transaction that holds only while the rows are as they were seen and this server is the one that leads,
so a second loop, or a late one, is harmless. An action outside the database (a process is started, a signal sent, a
folder removed) always follows the row that announces it.
"""

import logging
import secrets as random
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import and_, delete, exists, or_, select
from sqlalchemy.orm import Session

from quickalign.core.errors import QuickalignError, UnavailableError
from quickalign.core.program import AWAY
from quickalign.core.wire.jobs import Reason
from quickalign.core.wire.services import RevisionSpec, ServiceState
from quickalign.platform import ids
from quickalign.platform.config import Config
from quickalign.platform.crashpoints import reach
from quickalign.platform.db.engine import Database
from quickalign.platform.db.service_tables import ReplicaRow, RevisionRow, ServiceRow, ServiceTokenRow
from quickalign.platform.devices import Device
from quickalign.platform.executors.base import Executor, Observation, Phase, Recovery
from quickalign.platform.home import Home
from quickalign.platform.leadership import Acting, Leadership, NotLeadingError, Sole
from quickalign.platform.loop import Loop
from quickalign.platform.queue.admission import Load, Taken, room_for
from quickalign.platform.queue.view import current_loads, taken_by
from quickalign.platform.services import moves, plan
from quickalign.platform.services.endings import Endings
from quickalign.platform.services.moves import SeenReplica
from quickalign.platform.services.plan import Picture, Step
from quickalign.platform.services.removal import Freed, remove_folder
from quickalign.platform.services.replicas import Replicas
from quickalign.platform.services.routes import Route, Routes
from quickalign.platform.services.sources import Frozen
from quickalign.platform.services.starting import Room, Starter
from quickalign.platform.services.states import AT_REST, UP, ReplicaState

S, R = ServiceState, ReplicaState
_LOG = logging.getLogger(__name__)
_MOST_STEPS = 8
"""Steps of one service in one round; more would keep the others waiting."""
_SOON_SECONDS = 0.2
"""How long to wait for replicas that start or end."""
_TELL_SECONDS = 1.0
"""How late another server may learn that a service was asked; it must not stop one that is."""
_IDLE = "Nobody asked it anything for {seconds:.0f} seconds; it starts with the next request."


class ServiceReconciler:
    """Moves services along. `start` runs it in a thread; `tick` is one round, for tests and for nobody else at once."""

    def __init__(
        self,
        *,
        home: Home,
        config: Config,
        database: Database,
        executor: Executor,
        starter: Starter,
        replicas: Replicas,
        endings: Endings,
        routes: Routes,
        devices: tuple[Device, ...],
        clock: Callable[[], float],
        changed: Callable[[], None],
        leadership: Leadership | None = None,
    ) -> None:
        self._home, self._config, self._database = home, config, database
        self._leadership: Leadership = leadership or Sole()
        self._acting = Acting(database, self._leadership)
        self._term: int | None = None
        self._told: dict[str, float] = {}
        self._executor, self._starter, self._replicas = executor, starter, replicas
        self._endings, self._routes, self._devices = endings, routes, devices
        self._clock, self._changed = clock, changed
        self._expecting = False
        self._loop = Loop("service reconciler", self.tick, self.write_last_requests)

    def wake(self) -> None:
        """Something may be done; look now rather than in a second."""
        self._loop.wake()

    def start(self) -> None:
        """Run rounds in a thread until `stop`."""
        self._loop.start()

    def stop(self) -> None:
        """End the thread; replicas go on running and are found again by the next server."""
        self._loop.stop()

    @property
    def is_running(self) -> bool:
        """Whether the thread lives."""
        return self._loop.is_running

    def tick(self) -> float | None:
        """One round: look at every service that is not at rest, then start the replicas that have room.

        Returns:
            Seconds to the next round, where something is expected sooner than usual.
        """
        self._expecting = False
        for service_id in self._routes.take_asked():
            self._start_idle(service_id)
        suspects = self._routes.take_suspects()
        if self._leads():
            try:
                self._round(suspects)
            except NotLeadingError as error:
                _LOG.info("a round was given up: %s", error)
            self._routes.refresh()
        else:  # the routes are read when the watch over other servers hears that they are different
            self._tell_requests((route for route in self._routes.all() if route.stops_idle), since=_TELL_SECONDS)
        return _SOON_SECONDS if self._expecting else None

    def _leads(self) -> bool:
        """Whether this server leads. When it begins to, starts that nobody has claimed are settled anew."""
        term = self._leadership.keep()
        if term != self._term:
            self._term, self._replicas.recovered = term, False
            self._routes.hold(set())
            self._routes.refresh()
        return term is not None

    def _round(self, suspects: set[str]) -> None:
        for number in self._busy():
            if self._leadership.term() != self._term:
                return
            try:
                self._service(number, suspects)
            except QuickalignError:
                raise
            except Exception:  # one service that cannot be handled must not stop all others
                _LOG.exception("the service number %s could not be looked at", number)
        self._replicas.recovered = True
        self._admit()
        self._routes.hold(self._replicas.unwell())

    def _busy(self) -> list[int]:
        """Services in which something may be done."""
        resting = [str(state) for state in AT_REST]
        with_replicas = exists().where(ReplicaRow.service == ServiceRow.number)
        query = select(ServiceRow.number).where(or_(ServiceRow.state.not_in(resting), with_replicas))
        with self._database.read() as session:
            return list(session.scalars(query.order_by(ServiceRow.number)))

    def _service(self, number: int, suspects: set[str]) -> None:
        picture = self._picture(number)
        if picture is None:
            return
        moved = False
        self._expecting |= any(one.state in (R.STARTING, R.STOPPING) for one in picture.replicas)
        for row in picture.replicas:
            moved |= self._replicas.look(row, picture.service.id, suspect=row.id in suspects)
        for _ in range(_MOST_STEPS):
            if moved:
                self._say_changed()
                picture = self._picture(number)
            if picture is None or not self._step(picture):
                return
            moved = True

    def _step(self, picture: Picture) -> bool:
        """Make the one next change of a service; whether there was one."""
        if picture.state is S.DELETING and not picture.replicas:
            return self._deleted(picture)
        step = plan.next_step(picture) or self._idle(picture)
        if step is not None:
            return self._change(picture, step)
        return self._add_and_stop(picture)

    def _change(self, picture: Picture, step: Step) -> bool:
        now = self._clock()
        reach(f"services.before_{step.to or 'note'}")
        with self._acting.write() as session:
            row = moves.still(session, picture.service.number, picture.service.version)
            if row is None:
                return False
            if step.to is not None:
                moves.move(
                    session, row, step.to, self._config, now, reason=step.reason, message=step.message, **step.changes
                )
            else:
                reason = step.reason.model_dump(exclude_none=True) if step.reason else None
                moves.change(row, now, reason=reason, **step.changes)
                if step.message:
                    moves.append(session, row, "notice", step.message, {}, self._config, now)
            for number, values in step.revisions.items():
                _set(session.get(RevisionRow, (row.number, number)), values)
        reach(f"services.after_{step.to or 'note'}")
        return True

    def _add_and_stop(self, picture: Picture) -> bool:
        """Make rows of replicas that should be there, and mark those that should not."""
        lacking, surplus = plan.lacking(picture), plan.surplus(picture)
        if not lacking and not surplus:
            return False
        now = self._clock()
        with self._acting.write() as session:
            row = moves.still(session, picture.service.number, picture.service.version)
            if row is None:
                return False
            moves.change(row, now)
            for revision in lacking:
                session.add(_new_replica(row, picture.revisions[revision], now))
            for one in surplus:
                replica = session.get(ReplicaRow, one.id)
                if replica is not None:
                    moves.move_replica(replica, R.STOPPING, self._config, now)
        reach("services.planned")
        return True

    def _deleted(self, picture: Picture) -> bool:
        """No replica is left: remove the folder, then say that it is deleted."""
        service = picture.service
        folder = self._home.service(service.id)
        if not remove_folder(folder, self._home):
            return False
        reach("services.folder_gone")
        now = self._clock()
        with self._acting.write() as session:
            row = moves.still(session, service.number, service.version)
            if row is None:
                return False
            found = Freed().added_to(row.removal, folder)
            session.execute(delete(ServiceTokenRow).where(ServiceTokenRow.service == row.number))
            gone = len(found["processes"])
            message = f"The service is deleted: {gone} processes, its ports, memory and files are gone."
            moves.move(session, row, S.DELETED, self._config, now, message=message, taken_name=None, removal=found)
        reach("services.deleted")
        return True

    def _idle(self, picture: Picture) -> Step | None:
        """To a stop, where nobody has asked anything for as long as was set."""
        service, now = picture.service, self._clock()
        if picture.state is not S.RUNNING or service.idle_stop_seconds is None:
            return None
        ready = [one.ready_at or 0.0 for one in picture.replicas if one.state == R.READY]
        heard = (service.last_request_at or 0.0, self._routes.last_request(service.id) or 0.0, *ready)
        is_busy = any(self._routes.open_requests(one.id) for one in picture.replicas)
        if is_busy or not ready or now - max(heard) < service.idle_stop_seconds:
            return None
        reason = Reason(code="idle", message=_IDLE.format(seconds=service.idle_stop_seconds))
        return Step(S.STOPPING, reason, None, {"idle": True})

    def _start_idle(self, service_id: str) -> None:
        with self._database.write() as session:
            row = session.scalar(select(ServiceRow).where(ServiceRow.id == service_id).with_for_update())
            if row is not None and row.idle and row.state == S.STOPPED:
                message = "A request came, and the service starts again."
                moves.move(session, row, S.PENDING, self._config, self._clock(), message=message, idle=False)

    def _admit(self) -> None:
        """Start waiting replicas in the order they were made, as far as there is memory."""
        with self._database.read() as session:
            waiting = _waiting(session)
            loads = current_loads(session, self._devices) if waiting else []
        for row, service_id, taken in waiting:
            seen = SeenReplica.of(row, service_id)
            load = room_for(taken, "cuda" if row.gpus else "cpu", loads)
            if load is None:
                self._tell_waiting(seen, row, loads)
                continue
            load.add_replica(taken)
            self._start(seen, Room(load.device.index if row.gpus else None, row.gpus, row.memory_bytes))
            self._expecting = True
        if waiting:
            self._changed()

    def _start(self, seen: SeenReplica, room: Room) -> None:
        """Announce a start, then begin it."""
        token = random.token_hex(16)
        number = seen.attempt + 1
        with self._acting.write() as session:
            service = session.scalar(select(ServiceRow).where(ServiceRow.id == seen.service).with_for_update())
            replica = moves.still_replica(session, seen)
            if service is None or replica is None or S(service.state) not in UP:
                return
            now = self._clock()
            moves.change(service, now)
            moves.move_replica(
                replica, R.STARTING, self._config, now,
                attempt=number, lease_token=token, device=room.device, retry_at=None, processes=None, keeper=None,
            )  # fmt: skip
            message = f"A replica of revision {seen.revision} starts."
            data = {"replica": seen.id, "revision": seen.revision, "attempt": number}
            moves.append(session, service, "replica", message, data, self._config, now)
            name = service.name
            revision = session.get(RevisionRow, (service.number, seen.revision))
            assert revision is not None
        reach("services.announced")
        started = SeenReplica(seen.id, seen.service, seen.revision, R.STARTING, number, token)
        spec, source = RevisionSpec.model_validate(revision.spec), Frozen.model_validate(revision.source)
        try:
            self._starter.start(started.last_attempt, seen.id, name, spec, source, room)
        except QuickalignError as error:
            self._not_started(started, error)
        reach("services.started")

    def _not_started(self, seen: SeenReplica, error: QuickalignError) -> None:
        _LOG.warning("the replica %s could not be started: %s", seen.id, error)
        if self._executor.recover(seen.last_attempt) is not Recovery.REQUEUE:
            return
        with self._database.read() as session:
            row = session.get(ReplicaRow, seen.id)
        if row is not None:
            code = AWAY if isinstance(error, UnavailableError) else error.exit_code
            observed = Observation(Phase.FINISHED, exit_code=code, message=str(error))
            self._endings.crashed(seen, row, observed)

    def _tell_waiting(self, seen: SeenReplica, row: ReplicaRow, loads: list[Load]) -> None:
        reason = _no_room(row, loads).model_dump(exclude_none=True)
        if row.reason != reason:
            with self._acting.write() as session:
                replica = moves.still_replica(session, seen)
                if replica is not None:
                    replica.reason = reason

    def _picture(self, number: int) -> Picture | None:
        with self._database.read() as session:
            service = session.get(ServiceRow, number)
            if service is None:
                return None
            revisions = session.scalars(select(RevisionRow).where(RevisionRow.service == number))
            replicas = select(ReplicaRow).where(ReplicaRow.service == number)
            return Picture(
                service,
                {row.number: row for row in revisions},
                tuple(session.scalars(replicas.order_by(ReplicaRow.created_at, ReplicaRow.id))),
            )

    def write_last_requests(self) -> None:
        """Keep the times of the last requests, so that the next server knows them too."""
        self._tell_requests(self._routes.all(), since=0.0)

    def _tell_requests(self, routes: Iterable[Route], *, since: float) -> None:
        """Write down when services were asked last, where that is more than `since` seconds later than was told."""
        news: dict[str, float] = {}
        for route in routes:
            at = self._routes.last_request(route.service_id)
            if at is not None and any(self._routes.open_requests(one.replica_id) for one in route.replicas):
                at = self._clock()
            if at is not None and at > self._told.get(route.service_id, 0.0) + since:
                news[route.service_id] = at
        if not news:
            return
        with self._database.write() as session:
            for row in session.scalars(select(ServiceRow).where(ServiceRow.id.in_(news)).order_by(ServiceRow.number)):
                row.last_request_at = max(news[row.id], row.last_request_at or 0.0)
        self._told |= news

    def _say_changed(self) -> None:
        self._routes.refresh()
        self._changed()


def _waiting(session: Session) -> list[tuple[ReplicaRow, str, Taken]]:
    """Each waiting replica with its service's id, and what it will take."""
    of_revision = and_(RevisionRow.service == ReplicaRow.service, RevisionRow.number == ReplicaRow.revision)
    query = select(ReplicaRow, ServiceRow.id, ServiceRow.name, RevisionRow)
    query = query.join(ServiceRow, ServiceRow.number == ReplicaRow.service).join(RevisionRow, of_revision)
    rows = session.execute(query.where(ReplicaRow.state == R.WAITING).order_by(ReplicaRow.created_at, ReplicaRow.id))
    return [(row, service, taken_by(name, row, revision)) for row, service, name, revision in rows]


def _no_room(row: ReplicaRow, loads: list[Load]) -> Reason:
    kind = "cuda" if row.gpus else "cpu"
    free = max((load.device.total_bytes - load.memory_bytes for load in loads if load.device.kind == kind), default=0)
    needed = f"A replica needs {row.memory_bytes / 1e9:.1f} GB, and {max(free, 0) / 1e9:.1f} GB are free"
    return Reason(code="waiting_for_memory", message=f"{needed}; it starts when jobs or services end.")


def _new_replica(row: ServiceRow, revision: RevisionRow, now: float) -> ReplicaRow:
    return ReplicaRow(
        id=ids.new("replica"),
        service=row.number,
        revision=revision.number,
        state=str(R.WAITING),
        gpus=row.gpus,
        memory_bytes=revision.memory_bytes,
        attempt=0,
        restarts=0,
        crashes=0,
        created_at=now,
    )


def _set(row: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(row, name, value)
