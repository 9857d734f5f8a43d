"""Changing a replica's row together with its service's: one transaction that holds only while both are as seen."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from quickalign.core.wire.jobs import Reason
from quickalign.platform.config import Config
from quickalign.platform.db.service_tables import ReplicaRow, RevisionRow, ServiceRow
from quickalign.platform.leadership import Acting
from quickalign.platform.services import moves
from quickalign.platform.services.moves import SeenReplica
from quickalign.platform.services.states import ReplicaState


@dataclass(frozen=True, slots=True)
class Entry:
    """A replica, its service and its revision, locked until the transaction ends."""

    session: Session
    service: ServiceRow
    replica: ReplicaRow
    config: Config
    now: float

    @property
    def revision(self) -> RevisionRow:
        """What the replica serves."""
        found = self.session.get(RevisionRow, (self.service.number, self.replica.revision))
        assert found is not None
        return found

    def move(self, to: ReplicaState, *, reason: Reason | None = None, **changes: Any) -> None:
        """Bring the replica to the state `to`."""
        moves.move_replica(self.replica, to, self.config, self.now, reason=reason, **changes)

    def tell(self, message: str, **data: Any) -> None:
        """Add an event to the service."""
        told = {"replica": self.replica.id, "revision": self.replica.revision} | data
        moves.append(self.session, self.service, "replica", message, told, self.config, self.now)

    def others_ready(self) -> int:
        """How many other replicas of the same revision answer."""
        same = (ReplicaRow.service == self.service.number, ReplicaRow.revision == self.replica.revision)
        query = select(func.count()).where(*same, ReplicaRow.state == ReplicaState.READY)
        return self.session.scalar(query.where(ReplicaRow.id != self.replica.id)) or 0


class Ledger:
    """Opens entries."""

    def __init__(self, config: Config, acting: Acting, clock: Callable[[], float]) -> None:
        self._config, self._acting, self._clock = config, acting, clock

    @contextmanager
    def entry(self, seen: SeenReplica) -> Iterator[Entry | None]:
        """The replica that was seen, to be changed; None where it has moved on since."""
        with self._acting.write() as session:
            query = select(ServiceRow).where(ServiceRow.id == seen.service).with_for_update()
            service = session.scalar(query)
            replica = moves.still_replica(session, seen)
            if service is None or replica is None:
                yield None
                return
            now = self._clock()
            moves.change(service, now)
            yield Entry(session, service, replica, self._config, now)

    def move(self, seen: SeenReplica, to: ReplicaState, message: str | None = None, **changes: Any) -> bool:
        """Bring the replica to the state `to`; False where it has moved on since."""
        with self.entry(seen) as entry:
            if entry is None:
                return False
            entry.move(to, **changes)
            if message:
                entry.tell(message, to=str(to))
        return True

    def note(self, seen: SeenReplica, **changes: Any) -> None:
        """Write down what was measured; nothing follows from it."""
        with self._acting.write() as session:
            replica = moves.still_replica(session, seen)
            if replica is not None:
                for name, value in changes.items():
                    setattr(replica, name, value)
