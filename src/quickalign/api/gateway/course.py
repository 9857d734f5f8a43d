"""What one request goes through, for the figures and the log."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from quickalign.api.gateway.events import Events, tokens_in
from quickalign.api.gateway.figures import ServiceFigures

_LOGGED_BYTES = 64 << 10
LEFT, BROKEN = "left", "broken"


class Course:
    """One request from its arrival to its end.

    Attributes:
        how: how it ended: a status, `left` or `broken`.
        replica: the replica that answered.
        retries: replicas that were asked before it.
        logged: fields of the request's line in the log.
    """

    def __init__(self, figures: ServiceFigures, arrived: float, logged: dict[str, Any], *, with_contents: bool) -> None:
        self._figures, self._arrived, self.logged = figures, arrived, logged
        self._contents = bytearray() if with_contents else None
        self._first: float | None = None
        self._tokens = 0
        self._streamed = False
        self.how = LEFT
        self.replica: str | None = None
        self.retries = 0
        figures.open += 1

    def asked(self, body: bytes) -> None:
        """The request's body, for the log where the operator wants contents in it."""
        if self._contents is not None:
            self.logged["request"] = body[:_LOGGED_BYTES].decode("utf-8", "replace")

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """The time in which no replica is ready."""
        self._figures.waiting += 1
        try:
            yield
        finally:
            self._figures.waiting -= 1

    def passed(self, part: bytes) -> None:
        """A part of the answer went to the client."""
        if self._contents is not None and len(self._contents) < _LOGGED_BYTES:
            self._contents += part[: _LOGGED_BYTES - len(self._contents)]

    def streamed(self, events: Events) -> None:
        """Events went to the client."""
        self._streamed = True
        self._tokens = events.tokens
        if self._first is None and events.tokens:
            self._first = time.monotonic()

    def whole(self, answer: bytes) -> None:
        """An answer in one piece came."""
        self._tokens = tokens_in(answer) or 0

    def end(self) -> None:
        """The request is over."""
        now = time.monotonic()
        figures = self._figures
        figures.open -= 1
        figures.answers[self.how] += 1
        figures.tokens += self._tokens
        figures.retried += bool(self.retries)
        if self._first is not None:
            figures.first.add(self._first - self._arrived)
        if (speed := self._speed(now)) is not None:
            figures.speed.add(speed)
        self._log()

    def _speed(self, now: float) -> float | None:
        """Tokens a second: of a stream from its first token on, of an answer in one piece over all of its time."""
        if self.how != "200" or not self._tokens:
            return None
        if not self._streamed:
            return self._tokens / max(now - self._arrived, 1e-9)
        if self._first is None or self._tokens < 2:
            return None
        return (self._tokens - 1) / max(now - self._first, 1e-9)

    def _log(self) -> None:
        self.logged |= {"replica": self.replica, "ended": self.how, "tokens": self._tokens}
        if self.retries:
            self.logged["retries"] = self.retries
        if self._first is not None:
            self.logged["first_token_ms"] = round((self._first - self._arrived) * 1000, 1)
        if self._contents is not None:
            self.logged["answer"] = self._contents.decode("utf-8", "replace")
