"""Who may use a home: one server, or several with one PostgreSQL database. The kernel takes a dead one's locks back.

Locks are those of `flock`, which file systems that several machines share must know too. A home stays with its
database: another one would take what lies there for left over.
"""

import fcntl
import os
import threading
from pathlib import Path

from quickalign.core import atomic
from quickalign.core.errors import ConflictError
from quickalign.platform.home import Home, unwritable

_OWN = "sqlite"
"""What is written down of a home whose database is its own SQLite file."""


class HomeLock:
    """Held from construction to `release`: alone, or together with others whose database is the same.

    Raises:
        ConflictError: another server has this home, or it belongs to another database.
        StorageError: the home cannot be written.
    """

    def __init__(self, home: Home, database: str | None = None) -> None:
        self._home = home
        try:
            self._descriptor = self._alone() if database is None else self._together(database)
        except OSError as error:
            raise unwritable(home.root, error) from None

    def release(self) -> None:
        """Let another server have the home."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def _alone(self) -> int:
        descriptor = try_flock(self._home.lock, fcntl.LOCK_EX)
        if descriptor is None:
            raise self._taken()
        return self._settled(descriptor, _OWN)

    def _together(self, database: str) -> int:
        """Share the home. The first to come writes down which database it has."""
        with Mutex(self._home.lock_of("joining")):
            descriptor = try_flock(self._home.lock, fcntl.LOCK_EX)
            if descriptor is not None:
                self._settled(descriptor, database)
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                return descriptor
            descriptor = try_flock(self._home.lock, fcntl.LOCK_SH)
            if descriptor is None:
                raise self._taken()
            if self._known.read_text(encoding="ascii") == database:
                return descriptor
        os.close(descriptor)
        raise ConflictError(
            f"The servers that run on the home {self._home.root} have another PostgreSQL database.",
            "Give this one the same --database-url, stop those, or set QUICKALIGN_HOME to another folder.",
        )

    @property
    def _known(self) -> Path:
        """Where the database of this home is written down."""
        return self._home.lock_of("database")

    def _settled(self, descriptor: int, database: str) -> int:
        """The lock, of a home that is now that of `database`; given back where what lies there is another one's."""
        try:
            before = self._known.read_text(encoding="ascii").strip() if self._known.exists() else None
            if before not in (None, database) and self._home.is_used():
                raise self._belongs_to(str(before))
            if before != database:
                atomic.write_text(self._known, database)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _belongs_to(self, before: str) -> ConflictError:
        if before == _OWN:
            what, how = "its own SQLite database", "Start the server without a database URL"
        else:
            what, how = "a PostgreSQL database", "Name that one with --database-url or QUICKALIGN_DATABASE_URL"
        return ConflictError(
            f"The jobs and files of the home {self._home.root} are in {what}, and this server has another one.",
            f"{how}; or set QUICKALIGN_HOME to another folder; or, to give them up, delete {self._known}.",
        )

    def _taken(self) -> ConflictError:
        return ConflictError(
            f"Another server is running on the home {self._home.root}.",
            "Use that one, stop it with `quickalign server stop`, or set QUICKALIGN_HOME to another folder.",
        )


class Mutex:
    """A `with` block that one thread of all servers of a home is in at a time."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._descriptor = -1

    def __enter__(self) -> None:
        self._lock.acquire()
        try:
            self._descriptor = flocked(self._file, fcntl.LOCK_EX)
        except BaseException:
            self._lock.release()
            raise

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
        self._lock.release()


def flocked(file: Path, kind: int) -> int:
    """A descriptor that holds the lock; it ends with the descriptor."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, kind)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def try_flock(file: Path, kind: int) -> int | None:
    """Likewise, without waiting; None where somebody else holds it."""
    try:
        return flocked(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
