"""What follows from how a service stands: pure functions from a picture of its rows to the one next step."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from quickalign.core.wire.jobs import Reason
from quickalign.core.wire.services import ServiceState
from quickalign.platform.db.service_tables import ReplicaRow, RevisionRow, ServiceRow
from quickalign.platform.services.states import UP, ReplicaState

S, R = ServiceState, ReplicaState
_STOP_FIRST = (R.BACKING_OFF, R.WAITING, R.STARTING, R.READY)
_BEGUN = frozenset({R.STARTING, R.READY, R.BACKING_OFF})


@dataclass(frozen=True, slots=True)
class Picture:
    """A service with its revisions and replicas as they stood at one moment."""

    service: ServiceRow
    revisions: Mapping[int, RevisionRow]
    replicas: tuple[ReplicaRow, ...]

    @property
    def state(self) -> ServiceState:
        """Where the service stands."""
        return S(self.service.state)

    def of(self, revision: int | None) -> list[ReplicaRow]:
        """The replicas of a revision that are not being stopped."""
        return [one for one in self.replicas if one.revision == revision and one.state != R.STOPPING]

    def ready(self, revision: int | None) -> int:
        """How many replicas of a revision answer."""
        return sum(one.state == R.READY for one in self.of(revision))


@dataclass(frozen=True, slots=True)
class Step:
    """A change of the service. `to` is None where its state stays; `revisions` are new states of revisions."""

    to: ServiceState | None
    reason: Reason | None = None
    message: str | None = None
    changes: dict[str, Any] = field(default_factory=dict)
    revisions: dict[int, dict[str, Any]] = field(default_factory=dict)


def next_step(picture: Picture) -> Step | None:
    """The next change of the service itself; None where it stands as its replicas do."""
    if picture.state is S.STOPPING:
        return None if picture.replicas else Step(S.STOPPED, reason=_told(picture.service))
    if picture.state not in UP:
        return None
    service = picture.service
    if picture.revisions[service.target].state == "failed":
        return _given_up(picture)
    if service.target != service.revision:
        return _change_over(picture) or _as_it_starts(picture)
    if picture.ready(service.target):
        return None if picture.state is S.RUNNING else _upwards(picture, Step(S.RUNNING))
    return _as_it_starts(picture)


def wanted(picture: Picture) -> dict[int, int]:
    """How many replicas there should be of each revision."""
    service = picture.service
    if picture.state not in UP:
        return {}
    found = {service.target: service.wanted_replicas}
    if picture.state is S.UPDATING and service.revision is not None:
        found[service.revision] = service.wanted_replicas
    return found


def lacking(picture: Picture) -> list[int]:
    """The revision of each replica that should be there and is not."""
    counts = wanted(picture).items()
    return [revision for revision, count in counts for _ in range(count - len(picture.of(revision)))]


def surplus(picture: Picture) -> list[ReplicaRow]:
    """The replicas that should be stopped; those that answer last, and of equal ones the newest first."""
    counts, found = wanted(picture), []
    for revision in {one.revision for one in picture.replicas}:
        living = sorted(picture.of(revision), key=lambda one: (one.created_at, one.id), reverse=True)
        living.sort(key=lambda one: _STOP_FIRST.index(R(one.state)))
        found += living[: max(0, len(living) - counts.get(revision, 0))]
    return found


def _change_over(picture: Picture) -> Step | None:
    """To the revision that is wanted, when enough of its replicas answer: all where an old one answers meanwhile."""
    service = picture.service
    needed = service.wanted_replicas if picture.ready(service.revision) else 1
    if picture.ready(service.target) < needed:
        return None
    revisions: dict[int, dict[str, Any]] = {service.target: {"state": "serving", "reason": None}}
    if service.revision is not None:
        revisions[service.revision] = {"state": "retired"}
    message = f"The service is running: revision {service.target} answers."
    step = Step(S.RUNNING, None, message, {"revision": service.target}, revisions)
    return _upwards(picture, step)


def _given_up(picture: Picture) -> Step:
    """The revision that is wanted failed: the one that answered goes on; without one the service has failed."""
    service = picture.service
    reason = _told(picture.revisions[service.target])
    why = reason.message if reason else "It did not say why."
    old = service.revision
    if old is None or old == service.target or picture.revisions[old].state == "failed":
        to = S.STARTING if picture.state in (S.RUNNING, S.UPDATING) else S.FAILED
        return Step(to, reason=reason)
    kept = Reason(code="update_failed", message=f"Revision {service.target} failed, and revision {old} goes on. {why}")
    to = S.RUNNING if picture.ready(old) and picture.state is not S.PENDING else S.STARTING
    changes = {"target": old}
    if to is picture.state:
        return Step(None, kept, kept.message, changes)
    return Step(to, kept, None, changes)


def _as_it_starts(picture: Picture) -> Step | None:
    """Nothing of what is wanted answers: whether it starts or waits for room, and why."""
    replicas = picture.of(picture.service.target)
    reason = next((_told(one) for one in replicas if one.reason), None)
    if picture.state is S.UPDATING:
        return _explained(picture, reason)
    to = S.STARTING if any(R(one.state) in _BEGUN for one in replicas) else S.PENDING
    if picture.state is S.RUNNING and to is S.PENDING:
        to = S.STARTING
    if to is not picture.state:
        return Step(to, reason=reason)
    return _explained(picture, reason)


def _explained(picture: Picture, reason: Reason | None) -> Step | None:
    """Only the reason, where it is another one."""
    if reason is None or reason == _told(picture.service):
        return None
    return Step(None, reason)


def _upwards(picture: Picture, step: Step) -> Step:
    """`step` to running, by way of starting where the table has no shorter one."""
    if picture.state is S.RUNNING:
        return replace(step, to=None)
    return Step(S.STARTING) if picture.state is S.PENDING else step


def _told(row: ServiceRow | RevisionRow | ReplicaRow) -> Reason | None:
    return Reason.model_validate(row.reason) if row.reason else None
