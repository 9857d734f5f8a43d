"""Bearer tokens: shown once, kept as SHA-256."""

import hashlib
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import select

from quickalign.core.errors import NotFoundError
from quickalign.platform import ids
from quickalign.platform.db.engine import Database
from quickalign.platform.db.tables import TokenRow
from quickalign.platform.names import check_name

_PREFIX = "qa-"


@dataclass(frozen=True, slots=True)
class Token:
    """A token without its secret. `revoked_at` is None while it is good."""

    id: str
    name: str
    created_at: float
    revoked_at: float | None


class Tokens:
    """The tokens of this home. A random token of 256 bits needs no slow hash: it cannot be guessed from its own."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock
        self._lock = threading.Lock()
        self._good: dict[str, Token] | None = None

    def create(self, name: str) -> str:
        """Make a token; the returned text is known to nobody else and is never shown again.

        Raises:
            OptionError: the name cannot be.
        """
        check_name(name, f"{name[:40]!r} cannot be a token's name.")
        text = _PREFIX + secrets.token_urlsafe(32)
        with self._database.write() as session:
            row = TokenRow(id=ids.new("token"), name=name, sha256=_digest(text), created_at=self._clock())
            session.add(row)
        self.forget()
        return text

    def verify(self, text: str) -> bool:
        """Whether this is a good token."""
        return self.find(text) is not None

    def find(self, text: str) -> Token | None:
        """The good token with this text; None where there is none."""
        return self._known().get(_digest(text))

    def is_good(self, token_id: str) -> bool:
        """Whether there is such a token, and it was not revoked."""
        return any(token.id == token_id for token in self._known().values())

    def _known(self) -> dict[str, Token]:
        with self._lock:
            if self._good is None:
                with self._database.read() as session:
                    rows = session.scalars(select(TokenRow).where(TokenRow.revoked_at.is_(None)))
                    self._good = {row.sha256: Token(row.id, row.name, row.created_at, None) for row in rows}
            return self._good

    def list(self) -> tuple[Token, ...]:
        """All tokens, oldest first."""
        with self._database.read() as session:
            rows = session.scalars(select(TokenRow).order_by(TokenRow.created_at, TokenRow.id)).all()
        return tuple(Token(row.id, row.name, row.created_at, row.revoked_at) for row in rows)

    def revoke(self, token_id: str) -> None:
        """Make a token worthless.

        Raises:
            NotFoundError: there is none.
        """
        with self._database.write() as session:
            row = session.get(TokenRow, token_id)
            if row is None:
                raise NotFoundError(f"There is no token {token_id!r}.", field="token_id", value=token_id)
            row.revoked_at = row.revoked_at or self._clock()
        self.forget()

    def forget(self) -> None:
        """Look into the database again when somebody asks next: another server may have changed something."""
        with self._lock:
            self._good = None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
