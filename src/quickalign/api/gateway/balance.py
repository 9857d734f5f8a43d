"""Which replica answers: the one with the fewest open requests."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from quickalign.platform.services.routes import Upstream


class Balance:
    """Counts the open requests of every replica."""

    def __init__(self) -> None:
        self._open: dict[str, int] = {}
        self._turn = 0

    def open_requests(self, replica_id: str) -> int:
        """How many requests are open at a replica; may be asked from any thread."""
        return self._open.get(replica_id, 0)

    def choose(self, replicas: Sequence[Upstream], without: Collection[str] = ()) -> Upstream | None:
        """The replica that has least to do; those that have equally little take turns."""
        left = [each for each in replicas if each.replica_id not in without]
        if not left:
            return None
        fewest = min(self.open_requests(each.replica_id) for each in left)
        idle = [each for each in left if self.open_requests(each.replica_id) == fewest]
        self._turn += 1
        return idle[self._turn % len(idle)]

    @contextmanager
    def opened(self, replica_id: str) -> Iterator[None]:
        """The length of a request at a replica."""
        self._open[replica_id] = self._open.get(replica_id, 0) + 1
        try:
            yield
        finally:
            self._open[replica_id] -= 1
            if not self._open[replica_id]:
                del self._open[replica_id]
