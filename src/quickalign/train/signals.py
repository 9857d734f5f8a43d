"""Stopping a run kindly: the first signal lets the current step finish and be saved, the second ends at once."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


def never() -> bool:
    """Nobody asks."""
    return False


class StopRequest:
    """Whether somebody asked the run to stop: by a signal, or in the way that `asked_elsewhere` knows of."""

    def __init__(self, asked_elsewhere: Callable[[], bool] = never) -> None:
        self._signalled = False
        self._elsewhere = asked_elsewhere

    @property
    def asked(self) -> bool:
        """Whether the run is to stop after its current step."""
        return self._signalled or self._elsewhere()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._signalled:
            raise KeyboardInterrupt
        self._signalled = True


@contextmanager
def stop_request(asked_elsewhere: Callable[[], bool] = never) -> Iterator[StopRequest]:
    """Listen for SIGINT and SIGTERM inside the block; outside the main thread, which alone gets signals, only
    `asked_elsewhere` is asked."""
    request = StopRequest(asked_elsewhere)
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    previous = {number: signal.signal(number, request._handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
