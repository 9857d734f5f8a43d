"""What one token may ask for: requests a minute, and requests at once."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from quickalign.core.wire.services import Limits
from quickalign.serve.http.errors import ApiError

_MINUTE = 60.0
_CONCURRENCY_RETRY = 1
"""Nobody knows when an answer ends; a client that is refused for too many at once asks again after this."""

Key = tuple[str, str]
"""A service's id and a token's name."""


@dataclass(slots=True)
class _Use:
    open: int = 0
    begun: deque[float] = field(default_factory=deque)


class Throttle:
    """Counts what tokens do. In any minute, no token begins more requests than its limit says."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._uses: dict[Key, _Use] = {}

    @contextmanager
    def admitted(self, key: Key, limits: Limits) -> Iterator[None]:
        """The length of a request of this token.

        Raises:
            ApiError: 429, with the seconds after which it may come again.
        """
        if limits.requests_per_minute is None and limits.concurrency is None:
            yield
            return
        use = self._admit(key, limits)
        try:
            yield
        finally:
            use.open -= 1

    def _admit(self, key: Key, limits: Limits) -> _Use:
        now = self._clock()
        use = self._uses.get(key)
        if use is None:
            self._forget(now)
            use = self._uses[key] = _Use()
        _expire(use, now)
        if limits.requests_per_minute is not None and len(use.begun) >= limits.requests_per_minute:
            oldest = use.begun[len(use.begun) - limits.requests_per_minute]
            raise _refusal(
                f"The token's limit is {limits.requests_per_minute} requests a minute.",
                math.ceil(oldest + _MINUTE - now),
            )
        if limits.concurrency is not None and use.open >= limits.concurrency:
            raise _refusal(f"The token's limit is {limits.concurrency} requests at once.", _CONCURRENCY_RETRY)
        use.open += 1
        use.begun.append(now)
        return use

    def _forget(self, now: float) -> None:
        """Drop what says nothing any more, so that tokens that come and go leave nothing."""
        for key, use in list(self._uses.items()):
            _expire(use, now)
            if not use.open and not use.begun:
                del self._uses[key]


def _expire(use: _Use, now: float) -> None:
    while use.begun and use.begun[0] <= now - _MINUTE:
        use.begun.popleft()


def _refusal(message: str, seconds: int) -> ApiError:
    headers = {"Retry-After": str(max(seconds, 1))}
    return ApiError(
        429, f"{message} Send it again in {max(seconds, 1)} s.", code="rate_limit_exceeded", headers=headers
    )
