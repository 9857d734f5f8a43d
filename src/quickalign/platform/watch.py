"""A server among others: stays the one that leads, or becomes it, and hears of what the others changed."""

from collections.abc import Callable, Mapping, Sequence

from quickalign.platform.db import changes
from quickalign.platform.db.changes import Topic
from quickalign.platform.db.engine import Database
from quickalign.platform.leadership import Lease
from quickalign.platform.loop import Loop

_PAUSE_SECONDS = 0.5


def _nothing() -> None:
    """There are no chores."""


class Watch:
    """Looks twice a second, in a thread of its own: also while a round of another loop takes long.

    `listeners` are told that something of their topic is different; all of them when this server begins to lead.
    """

    def __init__(
        self, database: Database, lease: Lease, listeners: Mapping[Topic, Sequence[Callable[[], None]]]
    ) -> None:
        self._database, self._lease, self._listeners = database, lease, listeners
        self._known: dict[str, int] = {}
        self._term: int | None = None
        self._loop = Loop("watch over other servers", self.tick, _nothing)

    def start(self) -> None:
        """Look in a thread until `stop`."""
        self._loop.start()

    def stop(self) -> None:
        """End the thread."""
        self._loop.stop()

    def tick(self) -> float:
        """One look; gives the seconds to the next."""
        term = self._lease.keep()
        with self._database.read() as session:
            found = changes.read(session)
        begins = term is not None and term != self._term
        for topic, listeners in self._listeners.items():
            if begins or found.get(topic) != self._known.get(topic):
                for listener in listeners:
                    listener()
        self._known, self._term = found, term
        return _PAUSE_SECONDS
