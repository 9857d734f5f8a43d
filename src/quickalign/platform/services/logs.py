"""Which files hold what the replicas of a service said."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from quickalign.core.errors import NotFoundError
from quickalign.core.wire.services import ServiceState
from quickalign.platform.db.service_tables import ReplicaRow, ServiceRow
from quickalign.platform.executors.base import Executor
from quickalign.platform.home import Home
from quickalign.platform.services.moves import key_of
from quickalign.platform.services.states import AT_REST


def living(session: Session, row: ServiceRow) -> list[str]:
    """The replicas that there are: those of the revision that answers first, and the oldest of them first."""
    found = session.scalars(select(ReplicaRow).where(ReplicaRow.service == row.number)).all()
    return [one.id for one in sorted(found, key=lambda one: (one.revision != row.revision, one.created_at, one.id))]


@dataclass(frozen=True, slots=True)
class ReplicaLog:
    """Whose log is read: of a service, by its id, the replica; None where it has had none so far."""

    service: str
    replica: str | None
    files: tuple[Path, ...]
    is_over: bool


def find(executor: Executor, home: Home, row: ServiceRow, replicas: list[str], wanted: str | None) -> ReplicaLog:
    """The log files of a replica as one text, and whether nothing will be added.

    Raises:
        NotFoundError: the service has no replica `wanted`, and none of that name is remembered.
    """
    kept = _kept(home.service(row.id) / "logs")
    chosen = wanted or next(iter([*replicas, *kept]), None)
    if chosen is None:
        return ReplicaLog(row.id, None, (), ServiceState(row.state) in AT_REST)
    if chosen in replicas:
        return ReplicaLog(row.id, chosen, tuple(executor.logs(key_of(row.id, chosen))), is_over=False)
    if chosen in kept:
        return ReplicaLog(row.id, chosen, (kept[chosen],), is_over=True)
    raise NotFoundError(
        f"The service {row.name!r} has no replica {chosen[:100]!r}.",
        "`quickalign services show` lists those it has.",
        field="replica",
        value=chosen,
    )


def _kept(folder: Path) -> dict[str, Path]:
    """Logs of replicas that are gone, the last first."""
    found = list(folder.glob("*.log")) if folder.is_dir() else []
    return {file.stem: file for file in sorted(found, key=lambda file: file.stat().st_mtime, reverse=True)}
