"""What has changed, for the other servers of a database: a number a topic, counted up in the transaction itself.

A server looks at these few numbers instead of at everything. They are counted up last, so that the lock on a number is
held for hardly longer than it takes to commit.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from sqlalchemy import event, inspect, select, update
from sqlalchemy.orm import Session

from quickalign.platform.db.cloud_tables import AccessKeyRow
from quickalign.platform.db.server_tables import ChangeRow
from quickalign.platform.db.service_tables import ReplicaRow, RevisionRow, ServiceRow, ServiceTokenRow
from quickalign.platform.db.tables import JobRow, TokenRow


class Topic(StrEnum):
    """What servers keep in memory and must read again when it has changed."""

    JOBS = "jobs"
    SERVICES = "services"
    TOKENS = "tokens"


_WATCHED: Mapping[type[Any], tuple[Topic, str]] = {
    JobRow: (Topic.JOBS, "state"),
    ServiceRow: (Topic.SERVICES, "version"),
    RevisionRow: (Topic.SERVICES, "state"),
    ReplicaRow: (Topic.SERVICES, "state"),
    ServiceTokenRow: (Topic.SERVICES, "revoked_at"),
    TokenRow: (Topic.TOKENS, "revoked_at"),
    AccessKeyRow: (Topic.TOKENS, "revoked_at"),
}
"""The topic of a table, and the column that must have changed; how far a job is, for one, nobody need be told."""

_TOUCHED = "topics"


class NotingSession(Session):
    """A session that remembers the topics of what it writes."""


@event.listens_for(NotingSession, "before_flush")
def _note(session: Session, context: object, instances: object) -> None:
    touched: set[Topic] = session.info.setdefault(_TOUCHED, set())
    for row in (*session.new, *session.deleted):
        if watched := _WATCHED.get(type(row)):
            touched.add(watched[0])
    for row in session.dirty:
        watched = _WATCHED.get(type(row))
        if watched and inspect(row).attrs[watched[1]].history.has_changes():
            touched.add(watched[0])


def count_up(session: Session) -> None:
    """Count up the topics of what `session` has written; the last thing before its end."""
    session.flush()
    for topic in sorted(session.info.get(_TOUCHED, ())):  # in one order, so that two transactions never wait in a ring
        session.execute(update(ChangeRow).where(ChangeRow.topic == topic).values(number=ChangeRow.number + 1))


def read(session: Session) -> dict[str, int]:
    """The number of every topic."""
    return {row.topic: row.number for row in session.execute(select(ChangeRow.topic, ChangeRow.number))}
