"""What opens one service: its own token, which is derived, and named ones, which are shown once."""

import hashlib
import secrets as random
from collections.abc import Callable

from sqlalchemy import select
from sqlalchemy.orm import Session

from quickalign.core.errors import ConflictError, NotFoundError
from quickalign.core.wire.base import Page
from quickalign.core.wire.services import ServiceState, ServiceToken, ServiceTokenSecret
from quickalign.platform import ids
from quickalign.platform.config import Config
from quickalign.platform.db.engine import Database
from quickalign.platform.db.service_tables import ServiceRow, ServiceTokenRow
from quickalign.platform.names import check_name
from quickalign.platform.services import moves
from quickalign.platform.services.records import to_token
from quickalign.platform.services.routes import Routes
from quickalign.platform.services.secrets import Secrets

_PREFIX = "qs-"


class ServiceTokens:
    """The tokens of all services. A change holds for the next request."""

    def __init__(
        self, config: Config, database: Database, secrets: Secrets, routes: Routes, clock: Callable[[], float]
    ) -> None:
        self._config, self._database, self._secrets = config, database, secrets
        self._routes, self._clock = routes, clock

    def own(self, name: str) -> ServiceTokenSecret:
        """The service's own token.

        Raises:
            NotFoundError; ConflictError: it is being deleted.
        """
        with self._database.read() as session:
            row = _there(moves.find(session, name))
            return ServiceTokenSecret(token=self._secrets.service_token(row.id, row.token_generation))

    def rotate(self, name: str) -> ServiceTokenSecret:
        """A new own token; the old one opens nothing any more. Named ones stay.

        Raises:
            NotFoundError; ConflictError: it is being deleted.
        """
        with self._database.write() as session:
            row = _there(moves.find(session, name))
            moves.change(row, self._clock(), token_generation=row.token_generation + 1)
            moves.append(session, row, "token", "Its own token is another one now.", {}, self._config, self._clock())
            secret = self._secrets.service_token(row.id, row.token_generation)
        self._routes.refresh()
        return ServiceTokenSecret(token=secret)

    def create(self, name: str, token_name: str) -> ServiceTokenSecret:
        """A named token; its text is known to nobody else and is never shown again.

        Raises:
            NotFoundError; ConflictError: it is being deleted. OptionError: the name cannot be one.
        """
        check_name(token_name, f"{token_name[:40]!r} cannot be a token's name.")
        text = _PREFIX + random.token_urlsafe(32)
        token_id = ids.new("token")
        with self._database.write() as session:
            row = _there(moves.find(session, name))
            digest = hashlib.sha256(text.encode()).hexdigest()
            now = self._clock()
            made = ServiceTokenRow(id=token_id, service=row.number, name=token_name, sha256=digest, created_at=now)
            session.add(made)
            data = {"token": token_id}
            moves.append(session, row, "token", f"The token {token_name!r} was made.", data, self._config, now)
        self._routes.refresh()
        return ServiceTokenSecret(token=text, id=token_id)

    def list(self, name: str) -> Page[ServiceToken]:
        """The named tokens, oldest first, also those that were revoked.

        Raises:
            NotFoundError: there is no such service.
        """
        with self._database.read() as session:
            number = moves.find(session, name).number
            mine = select(ServiceTokenRow).where(ServiceTokenRow.service == number)
            rows = session.scalars(mine.order_by(ServiceTokenRow.created_at, ServiceTokenRow.id))
            return Page(items=tuple(map(to_token, rows)))

    def revoke(self, name: str, token_id: str) -> None:
        """Make a named token worthless.

        Raises:
            NotFoundError: there is no such service or token.
        """
        with self._database.write() as session:
            row = moves.find(session, name)
            found = _token(session, row, token_id)
            if found.revoked_at is None:
                found.revoked_at = now = self._clock()
                data = {"token": token_id}
                moves.append(session, row, "token", f"The token {found.name!r} was revoked.", data, self._config, now)
        self._routes.refresh()


def _there(row: ServiceRow) -> ServiceRow:
    if row.state in (ServiceState.DELETING, ServiceState.DELETED):
        raise ConflictError(f"The service {row.name!r} is {row.state}.", field="state", value=row.state)
    return row


def _token(session: Session, row: ServiceRow, token_id: str) -> ServiceTokenRow:
    found = session.get(ServiceTokenRow, token_id)
    if found is None or found.service != row.number:
        raise NotFoundError(
            f"The service {row.name!r} has no token {token_id[:100]!r}.", field="token_id", value=token_id
        )
    return found
