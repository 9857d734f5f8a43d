"""What a wrapper looks at while its command runs: what it is asked, and whether it may still run at all.

The server may be on another machine and see nothing of this one but the heartbeat on the shared disk. So it asks by
files, and gives up a heartbeat that stands still; and a wrapper that cannot make it move ends its command well before
the server may give it up. A thread beats, because a disk that is gone may block whoever touches it for ever; whoever
judges does not touch it.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from quickalign.core.program import LEASE_MARK
from quickalign.platform.executors import records
from quickalign.platform.executors.records import Claim, Lease
from quickalign.platform.processes import Identity, marked, send

MARK = LEASE_MARK
BEAT_SECONDS = 1.0
YIELD_SECONDS = 60.0
"""How long a command may take to save when what started its wrapper is gone."""
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def awake() -> float:
    """Seconds that go on while the machine sleeps."""
    return time.clock_gettime(_CLOCK)


class Watch:
    """Beats, and says whether the command should stop (`asked`), or must not run any more (`condemned`, with why)."""

    def __init__(self, folder: Path, lease: Lease, clock: Callable[[], float] = awake) -> None:
        self._folder, self._lease, self._clock = folder, lease, clock
        self._parent = os.getppid()
        self._last = clock()
        self._left_at: float | None = None
        self.asked = self.copying = False
        self.condemned: str | None = None
        self._ended = threading.Event()

    def start(self) -> None:
        """Beat in a thread until `end`."""
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    def end(self) -> None:
        """No more beats. The thread is not waited for: it may hang in a disk that is gone."""
        self._ended.set()

    def look(self) -> None:
        """Judge by what is known."""
        if self._is_overdue():
            self.condemned = f"It could not reach {self._folder} for {self._lease.fence_seconds:.0f} seconds."
        if self._lease.yields and os.getppid() != self._parent:
            self.asked = True
            if self._left_at is None:
                self._left_at = self._clock()
            elif self._clock() - self._left_at > YIELD_SECONDS:
                self.condemned = "What had started it is gone, and it did not stop."

    def beat(self) -> None:
        """Touch the heartbeat, unless it is too late for that, and see what is asked."""
        if self._is_overdue():  # as after a sleep of the machine: the server may have given it up
            self.look()
            return
        if records.touch(self._folder / records.HEARTBEAT):
            self._last = self._clock()
        if self._lease.fence_seconds is None:
            return
        claim = records.read(self._folder / records.CLAIM, Claim)
        if claim is not None and (claim.revoked or claim.lease_token != self._lease.lease_token):
            self.condemned = "Its claim is not its own any more."
        if (self._folder / records.KILL).exists():
            self.condemned = "It was asked to end at once."
        self.asked = self.asked or (self._folder / records.STOP).exists()

    def kill(self, wrapper: Identity | None) -> None:
        """Kill everything here that the attempt has started, whatever it did to hide; not its wrapper."""
        for one in marked(f"{MARK}={self._lease.lease_token}"):
            if one != wrapper:
                send(one, signal.SIGKILL)

    def _is_overdue(self) -> bool:
        limit = self._lease.fence_seconds
        return limit is not None and self._clock() - self._last > limit

    def _run(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            try:
                self.beat()
            except OSError:  # the disk again; the time since the last touch counts
                continue
            if self.copying and (self.asked or self.condemned):
                os.kill(os.getpid(), signal.SIGTERM)  # the main thread copies, and hears nothing else
                return
