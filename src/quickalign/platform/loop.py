"""A thread that makes rounds: once a second, and at once when somebody knows of something to do."""

import logging
import threading
from collections.abc import Callable

_LOG = logging.getLogger(__name__)
_TICK_SECONDS = 1.0
_GATHER_SECONDS = 0.05
"""How long after a call a round waits for the next calls, so that a burst of them costs one round."""
_CHORES_EVERY = 60


class Loop:
    """Runs `tick` in a thread until `stop`, and `chores` now and then."""

    def __init__(self, name: str, tick: Callable[[], None], chores: Callable[[], None]) -> None:
        self._name, self._tick, self._chores = name, tick, chores
        self._wake, self._ended = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        """Whether the thread lives."""
        return self._thread is not None and self._thread.is_alive()

    def wake(self) -> None:
        """Something may be done; look now rather than in a second."""
        self._wake.set()

    def start(self) -> None:
        """Run rounds in a thread until `stop`."""
        self._ended.clear()
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread after its round."""
        self._ended.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        rounds = 0
        while not self._ended.is_set():
            self._wake.clear()
            try:
                self._tick()
                if rounds % _CHORES_EVERY == 0:
                    self._chores()
                rounds += 1
            except Exception:  # a full disk or an absent database: say so and try again
                _LOG.exception("a round of the %s failed", self._name)
                self._ended.wait(_TICK_SECONDS)
            if self._wake.wait(_TICK_SECONDS):
                self._ended.wait(_GATHER_SECONDS)
