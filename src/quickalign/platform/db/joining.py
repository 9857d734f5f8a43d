"""How a server takes its place among those of a PostgreSQL database: all of one home, all of one schema.

Everything here is held by a connection of the server's own, so the database lets go of it when the server dies.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, func, select, union_all, update
from sqlalchemy.orm import Session

from quickalign.core.errors import ConflictError
from quickalign.platform.db.server_tables import LeadershipRow
from quickalign.platform.db.service_tables import ServiceRow
from quickalign.platform.db.tables import FileRow, JobRow
from quickalign.platform.home import Home

_SERVERS = 0x71616C69676E
"""The advisory lock that all servers of a database share, and that one of an older quickalign has for itself."""

_DOOR = _SERVERS + 1
"""The advisory lock of whoever is just joining."""


@dataclass(frozen=True, slots=True)
class Joined:
    """Whether no other server is there."""

    alone: bool


@contextmanager
def joining(server: Connection) -> Iterator[Joined]:
    """Join the servers of the database for as long as `server` is open; nobody else joins within the block.

    Raises:
        ConflictError: a server is there that can have no others beside it.
    """
    server.execute(select(func.pg_advisory_lock(_DOOR)))
    try:
        alone = bool(server.scalar(select(func.pg_try_advisory_lock(_SERVERS))))
        if not alone and not server.scalar(select(func.pg_try_advisory_lock_shared(_SERVERS))):
            raise ConflictError(
                "Another quickalign server of an older version uses this PostgreSQL database for itself alone.",
                "Stop that one, or give this server a database of its own.",
            )
        yield Joined(alone)
        if alone:
            server.execute(select(func.pg_advisory_lock_shared(_SERVERS)))
            server.execute(select(func.pg_advisory_unlock(_SERVERS)))
    finally:
        server.execute(select(func.pg_advisory_unlock(_DOOR)))


def settle_home(session: Session, home: Home, *, alone: bool) -> None:
    """Note that the servers of this database have `home`, or compare where there are others, or something to lose.

    Raises:
        ConflictError: the others have another one, or what the database knows lies in another one.
    """
    own, known = home.identity(), session.scalar(select(LeadershipRow.home))
    if known == own:
        return
    if not alone:
        raise ConflictError(
            "Another quickalign server, with another home, uses this PostgreSQL database.",
            "Servers share a database only together with one home on a disk that all of them see; stop that one, or "
            "give this server a database of its own.",
        )
    if known is not None and _is_used(session):
        raise ConflictError(
            f"What the jobs and files of this PostgreSQL database left lies in another home than {home.root}.",
            f"Set QUICKALIGN_HOME to that one; or give this server a database of its own; or, where that home is gone "
            f"for good, write {known} into {home.root / 'home.id'}.",
        )
    session.execute(update(LeadershipRow).values(home=own))


def _is_used(session: Session) -> bool:
    tables = (JobRow, FileRow, ServiceRow)
    return session.scalar(union_all(*(select(table.number) for table in tables)).limit(1)) is not None
