"""Whether heartbeats on a shared disk move, by one's own clock: those of the disk and of other machines may differ."""

import os
from collections.abc import Callable
from pathlib import Path


class Pulse:
    """Remembers when each heartbeat was last seen to move."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: dict[Path, tuple[int, float]] = {}

    def still_seconds(self, file: Path) -> float | None:
        """How long the heartbeat is known to stand still, at least; None where the disk does not say."""
        try:
            stamp = _stamp(file)
        except OSError:
            return None
        now = self._clock()
        known = self._seen.get(file)
        if known is None or known[0] != stamp:
            self._seen[file] = (stamp, now)
            return 0.0
        return now - known[1]

    def forget(self, file: Path) -> None:
        """It will not be asked for again."""
        self._seen.pop(file, None)


def _stamp(file: Path) -> int:
    """When the file was last touched; 0 where it is not there yet. Opened, so that a network disk looks anew."""
    try:
        descriptor = os.open(file, os.O_RDONLY)
    except FileNotFoundError:
        return 0
    try:
        return os.fstat(descriptor).st_mtime_ns
    finally:
        os.close(descriptor)
