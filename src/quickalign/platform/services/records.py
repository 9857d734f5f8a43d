"""From rows to what travels."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from sqlalchemy import select
from sqlalchemy.orm import Session

from quickalign.core.wire.jobs import Event, Reason
from quickalign.core.wire.services import (
    Check,
    Limits,
    Removal,
    ReplicaView,
    Revision,
    RevisionSpec,
    Service,
    ServiceState,
    ServiceToken,
)
from quickalign.platform.db.service_tables import (
    ReplicaRow,
    RevisionRow,
    ServiceEventRow,
    ServiceRow,
    ServiceTokenRow,
)


def to_services(session: Session, rows: Sequence[ServiceRow]) -> tuple[Service, ...]:
    """The services of `rows`, in their order."""
    numbers = [row.number for row in rows]
    revisions: dict[int, list[RevisionRow]] = {number: [] for number in numbers}
    query = select(RevisionRow).where(RevisionRow.service.in_(numbers)).order_by(RevisionRow.number.desc())
    for revision in session.scalars(query):
        revisions[revision.service].append(revision)
    replicas: dict[int, list[ReplicaRow]] = {number: [] for number in numbers}
    for replica in session.scalars(
        select(ReplicaRow).where(ReplicaRow.service.in_(numbers)).order_by(ReplicaRow.created_at, ReplicaRow.id)
    ):
        replicas[replica.service].append(replica)
    return tuple(_service(row, revisions[row.number], replicas[row.number]) for row in rows)


def _service(row: ServiceRow, revisions: list[RevisionRow], replicas: list[ReplicaRow]) -> Service:
    is_gone = row.state == ServiceState.DELETED
    return Service(
        id=row.id,
        name=row.name,
        state=ServiceState(row.state),
        reason=_reason(row.reason),
        revision=row.revision,
        target=row.target,
        revisions=tuple(map(_revision, revisions)),
        wanted_replicas=row.wanted_replicas,
        replicas=tuple(map(_replica, replicas)),
        limits=Limits.model_validate(row.limits),
        idle_stop_seconds=row.idle_stop_seconds,
        metadata=dict(row.labels),
        path=f"/services/{row.name}/v1",
        created_at=row.created_at,
        updated_at=row.updated_at,
        last_request_at=row.last_request_at,
        removal=Removal.model_validate(row.removal) if is_gone and row.removal else None,
    )


def _revision(row: RevisionRow) -> Revision:
    return Revision.model_validate(
        {
            "number": row.number,
            "spec": RevisionSpec.model_validate(row.spec),
            "state": row.state,
            "engine": row.engine,
            "precision": row.precision,
            "model_path": row.source.get("model_path"),
            "adapter_path": row.source.get("adapter_path"),
            "context": row.context,
            "shared_base": row.shared_base,
            "weights_bytes": row.weights_bytes,
            "proof": [Check.model_validate(check) for check in (row.proof or {}).get("checks", [])],
            "reason": _reason(row.reason),
            "created_at": row.created_at,
        }
    )


def _replica(row: ReplicaRow) -> ReplicaView:
    return ReplicaView.model_validate(
        {
            "id": row.id,
            "revision": row.revision,
            "state": row.state,
            "device": _device(row),
            "pid": row.pid,
            "keeper": row.keeper["pid"] if row.keeper else None,
            "port": port_of(row.endpoint),
            "restarts": row.restarts,
            "memory_bytes": row.held_bytes,
            "ready_at": row.ready_at,
            "reason": _reason(row.reason),
        }
    )


def _device(row: ReplicaRow) -> str | None:
    if row.attempt == 0 or row.state in ("waiting", "backing_off"):
        return None
    return "cpu" if row.device is None else f"cuda:{row.device}"


def port_of(endpoint: str | None) -> int | None:
    """The port in an endpoint."""
    return urlsplit(endpoint).port if endpoint else None


def to_event(row: ServiceEventRow) -> Event:
    """The event of `row`."""
    return Event(
        sequence=row.sequence, created_at=row.created_at, kind=row.kind, message=row.message, data=dict(row.data)
    )


def to_token(row: ServiceTokenRow) -> ServiceToken:
    """The named token of `row`."""
    return ServiceToken(id=row.id, name=row.name, created_at=row.created_at, revoked_at=row.revoked_at)


def _reason(values: dict[str, object] | None) -> Reason | None:
    return Reason.model_validate(values) if values else None
