"""Which applications somebody still wants: those whose program was heard of lately."""

from __future__ import annotations

from collections.abc import Collection

BEAT_SECONDS = 4.0
LAPSE_SECONDS = 20.0
"""How long after the last word of its program an application is taken away."""


class Leases:
    """When each application's program was heard of. Times are seconds of any one clock."""

    def __init__(self) -> None:
        self._heard: dict[str, float] = {}

    def hear(self, application: str, now: float) -> None:
        """Its program lives."""
        self._heard[application] = now

    def forget(self, application: str) -> int:
        """It is gone, and its program has said so; returns how many are left."""
        self._heard.pop(application, None)
        return len(self._heard)

    def lapsed(self, there: Collection[str], now: float) -> list[str]:
        """Of the applications that are there those whose program is silent.

        One that is seen for the first time gets a whole term: its program may be about to speak.
        """
        self._heard = {name: at for name, at in self._heard.items() if name in there or now - at < LAPSE_SECONDS}
        for name in there:
            self._heard.setdefault(name, now)
        return [name for name in there if now - self._heard[name] >= LAPSE_SECONDS]
