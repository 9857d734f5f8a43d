"""One server a home: a lock that the kernel takes back when its holder dies."""

from filelock import FileLock, Timeout

from quickalign.core.errors import ConflictError
from quickalign.platform.home import Home, unwritable


class HomeLock:
    """Held from construction to `release`.

    Raises:
        ConflictError: another server has this home.
        StorageError: the home cannot be written.
    """

    def __init__(self, home: Home) -> None:
        self._lock = FileLock(home.lock)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise ConflictError(
                f"Another server is running on the home {home.root}.",
                "Use that one, stop it with `quickalign server stop`, or set QUICKALIGN_HOME to another folder.",
            ) from None
        except OSError as error:
            raise unwritable(home.root, error) from None

    def release(self) -> None:
        """Let another server have the home."""
        self._lock.release()
