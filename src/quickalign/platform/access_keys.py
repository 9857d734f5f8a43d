"""Access keys of the cloud's dialects: an id and a secret with which requests are signed.

A signature can only be checked by who has the secret, so it cannot be stored as a hash, as tokens are. It is derived
from the home's own key instead, and stored nowhere.
"""

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import select

from quickalign.core.errors import NotFoundError
from quickalign.platform.db.cloud_tables import AccessKeyRow
from quickalign.platform.db.engine import Database
from quickalign.platform.names import check_name

_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An access key without its secret."""

    id: str
    name: str
    created_at: float
    revoked_at: float | None


class AccessKeys:
    """The access keys of this home. `derive` makes a secret from a key's id."""

    def __init__(
        self, database: Database, derive: Callable[[str], str], clock: Callable[[], float] = time.time
    ) -> None:
        self._database, self._derive, self._clock = database, derive, clock
        self._lock = threading.Lock()
        self._good: frozenset[str] | None = None

    def create(self, name: str) -> tuple[AccessKey, str]:
        """Make a key; returns it with its secret.

        Raises:
            OptionError: the name cannot be.
        """
        check_name(name, f"{name[:40]!r} cannot be a key's name.")
        identity = "QA" + "".join(secrets.choice(_ALPHABET) for _ in range(18))
        row = AccessKeyRow(id=identity, name=name, created_at=self._clock(), revoked_at=None)
        with self._database.write() as session:
            session.add(row)
        self.forget()
        return _key(row), self._derive(identity)

    def secret(self, identity: str) -> str | None:
        """The secret of a good key; None where there is none of that id."""
        with self._lock:
            if self._good is None:
                with self._database.read() as session:
                    found = session.scalars(select(AccessKeyRow.id).where(AccessKeyRow.revoked_at.is_(None)))
                    self._good = frozenset(found)
            return self._derive(identity) if identity in self._good else None

    def list(self) -> tuple[AccessKey, ...]:
        """All keys, oldest first."""
        with self._database.read() as session:
            rows = session.scalars(select(AccessKeyRow).order_by(AccessKeyRow.created_at, AccessKeyRow.id)).all()
        return tuple(map(_key, rows))

    def revoke(self, identity: str) -> None:
        """Make a key worthless.

        Raises:
            NotFoundError: there is none.
        """
        with self._database.write() as session:
            row = session.get(AccessKeyRow, identity)
            if row is None:
                raise NotFoundError(f"There is no access key {identity[:40]!r}.", field="access_key_id", value=identity)
            row.revoked_at = row.revoked_at or self._clock()
        self.forget()

    def forget(self) -> None:
        """Look into the database again when somebody asks next: another server may have changed something."""
        with self._lock:
            self._good = None


def _key(row: AccessKeyRow) -> AccessKey:
    return AccessKey(row.id, row.name, row.created_at, row.revoked_at)
