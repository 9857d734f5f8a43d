"""The database behind two doors: `read` and `write`, each one transaction with errors that say what to do."""

import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, InterfaceError, NoSuchModuleError, OperationalError
from sqlalchemy.orm import Session

from quickalign.core import extras
from quickalign.core.errors import OptionError, QuickalignError, StorageError, UnavailableError
from quickalign.platform.db import changes, joining
from quickalign.platform.db.server_tables import LeadershipRow
from quickalign.platform.db.upgrade import upgrade
from quickalign.platform.home import Home

_BUSY_MILLISECONDS = 15_000


class Database:
    """SQLite in the home, or PostgreSQL by its URL; migrated when it is opened.

    Raises:
        StorageError: the file is damaged or cannot be written.
        UnavailableError: the server of `url` cannot be reached.
        ConflictError: servers with another home, or of another version, use that database.
        OptionError: the URL cannot be used.

    Attributes:
        kind: sqlite or postgresql.
        is_shared: whether several servers may use it at once, as only a server of databases allows.
        identity: the database's own name for itself, whatever way leads to it.
    """

    def __init__(self, home: Home, url: str | None = None) -> None:
        self._home = home
        self.engine = _postgresql(url) if url else _sqlite(home)
        self.kind = self.engine.dialect.name
        self.is_shared = self.kind == "postgresql"
        self._reader = self.engine
        self._writer = self.engine.execution_options(writes=True)
        self._server: Connection | None = None
        try:
            with self._errors():
                self._open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of all connections."""
        if self._server is not None:
            # said, not only hung up: the next server may come before the database has noticed that
            with contextlib.suppress(DatabaseError, InterfaceError):
                self._server.execute(select(func.pg_advisory_unlock_all()))
            self._server.close()
            self._server = None
        self.engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that changes nothing."""
        with self._errors(), Session(self._reader, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that may write: committed at the end of the block, undone on an error. Writers take turns."""
        kind = changes.NotingSession if self.is_shared else Session
        with self._errors(), kind(self._writer, expire_on_commit=False) as session, session.begin():
            yield session
            if self.is_shared:
                changes.count_up(session)

    def ping(self) -> None:
        """Check that the database answers.

        Raises:
            UnavailableError, StorageError: it does not.
        """
        with self.read() as session:
            session.execute(text("SELECT 1"))

    def _open(self) -> None:
        if not self.is_shared:
            self._upgrade(alone=True)
        else:
            self._server = self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            with joining.joining(self._server) as joined:
                self._upgrade(alone=joined.alone)
                with self.write() as session:
                    joining.settle_home(session, self._home, alone=joined.alone)
        with self.read() as session:
            self.identity = session.scalars(select(LeadershipRow.database)).one()

    def _upgrade(self, *, alone: bool) -> None:
        with self._writer.begin() as connection:
            if not self.is_shared:
                _check_whole(connection, self._home)
            upgrade(connection, alone=alone)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (DatabaseError, InterfaceError) as error:
            translated = self._translated(error)
            if translated is None:
                raise
            raise translated from error

    def _translated(self, error: DatabaseError | InterfaceError) -> QuickalignError | None:
        said = str(error.orig or "").strip().partition("\n")[0] or "no reason given"
        if self.kind == "sqlite":
            return _sqlite_error(self._home, said)
        if not isinstance(error, OperationalError | InterfaceError):
            return None
        return UnavailableError(
            f"The PostgreSQL database does not answer: {said}.", "Check that it runs and that the URL is right."
        )


def _sqlite_error(home: Home, said: str) -> QuickalignError | None:
    """What SQLite's own words mean here; None where they tell of a mistake in this program."""
    lower = said.lower()
    if "malformed" in lower or "not a database" in lower:
        return damaged(home, said)
    if "full" in lower:
        return StorageError(f"The disk that holds {home.root} is full.", "Make room; nothing was lost.")
    if any(words in lower for words in ("readonly", "read-only", "unable to open", "disk i/o")):
        return StorageError(
            f"The database {home.database} cannot be written: {said}.",
            "Give this user write access and room there, or set QUICKALIGN_HOME to another folder.",
        )
    return UnavailableError("The database is busy.", "Try again.") if "locked" in lower else None


def damaged(home: Home, said: str) -> StorageError:
    """The error for an SQLite file that is not whole."""
    return StorageError(
        f"The database {home.database} is damaged: {said}.",
        "Put a backup in its place, or move it away to begin anew; the results under jobs/ are untouched.",
    )


def _sqlite(home: Home) -> Engine:
    with contextlib.suppress(OSError):  # SQLite says by itself what is wrong with it
        # for its owner alone, as the files beside it will be: others may have made the home, readable for all
        home.database.touch(mode=0o600)
    engine = create_engine(
        f"sqlite:///{home.database}", connect_args={"timeout": _BUSY_MILLISECONDS / 1000, "check_same_thread": False}
    )

    @event.listens_for(engine, "connect")
    def connected(connection: sqlite3.Connection, record: object) -> None:
        # Python's driver would begin transactions by itself, and too late for BEGIN IMMEDIATE.
        connection.isolation_level = None
        for setting in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            f"busy_timeout={_BUSY_MILLISECONDS}",
        ):
            connection.execute(f"PRAGMA {setting}").close()

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql(url: str) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() != "postgresql":
            raise OptionError(
                f"A database of the kind {parsed.get_backend_name()!r} cannot be used.",
                "Give a PostgreSQL URL such as postgresql://user@host/quickalign, or none for SQLite in the home.",
            )
        if extras.missing("postgresql"):
            raise extras.refusal("postgresql", "PostgreSQL databases need psycopg.")
        engine = create_engine(
            parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True, pool_size=10, max_overflow=40
        )
        _check_options(parsed)
        return engine
    except ValueError:  # all that SQLAlchemy makes a number of
        raise OptionError(
            "The database URL has a port that is no number.", "Write postgresql://user@host/name."
        ) from None
    except ImportError as error:  # its driver is there, and what that needs is not
        reason = str(error).partition("\n")[0].rstrip(".")
        raise extras.refusal("postgresql", f"PostgreSQL's driver cannot be loaded: {reason}.") from None
    except (ArgumentError, NoSuchModuleError) as error:
        raise OptionError(f"The database URL cannot be used: {error}.", "Write postgresql://user@host/name.") from None


def _check_options(url: URL) -> None:
    """Refuse options behind the URL's question mark that PostgreSQL's driver does not have."""
    from psycopg import ProgrammingError  # noqa: PLC0415 - only who has PostgreSQL has it
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415

    for name in url.query:
        try:
            make_conninfo("", **{name: "1"})
        except ProgrammingError:
            raise OptionError(
                f"The database URL has an option {name!r}, which PostgreSQL does not know.", "Leave it out."
            ) from None


def _check_whole(connection: Connection, home: Home) -> None:
    found: Any = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    if found != "ok":
        raise damaged(home, str(found))
