"""How many answers one replica has open at a vLLM that it shares: others' options are not its own."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Places:
    """So many answers at once; those that find no place wait in their order. Belongs to one event loop."""

    def __init__(self, most: int) -> None:
        self._most = self._free = most
        self._waiting: collections.deque[tuple[int, asyncio.Future[None]]] = collections.deque()

    @asynccontextmanager
    async def taken(self, count: int) -> AsyncIterator[None]:
        """Hold `count` places, or all of them where there are fewer."""
        count = min(count, self._most)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((count, turn))
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give(count)
            else:
                with suppress(ValueError):  # it was passed over already
                    self._waiting.remove((count, turn))
                self._admit()
            raise
        try:
            yield
        finally:
            self._give(count)

    def _give(self, count: int) -> None:
        self._free += count
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            count, turn = self._waiting.popleft()
            if turn.cancelled():
                continue
            self._free -= count
            turn.set_result(None)
