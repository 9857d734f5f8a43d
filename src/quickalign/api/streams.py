"""Growing things of jobs, followed by many at once.

All followers of one thing share one task that looks for news, and the bytes it made of them. A follower that is behind
reads by itself until it has caught up. So the cost grows with the number of things followed, not of followers.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

import anyio

from quickalign.api import sse
from quickalign.api.metrics import Metrics
from quickalign.core.errors import NotFoundError, QuickalignError

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.2, 1.0
_HEARTBEAT_SECONDS = 15.0
_KEPT_BATCHES = 16
_READERS = 8


@dataclass(frozen=True, slots=True)
class Batch:
    """What came after position `start`, encoded; `next` is where it goes on."""

    start: int
    next: int
    body: bytes
    complete: bool

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing."""
        return self.next == self.start and not self.body


Read = Callable[[int], Batch]
"""Reads what comes after a position; runs in a thread."""
Key = tuple[str, ...]


class _Topic:
    """One followed thing. Its watcher reads at `_position`; what it found is told to all who wait there."""

    def __init__(self, read: Read, limiter: anyio.CapacityLimiter) -> None:
        self._read, self._limiter = read, limiter
        self.followers = 0
        self._position = 0
        self._news = asyncio.Condition()
        self._recent: dict[int, Batch] = {}
        self._reading: dict[int, asyncio.Task[Batch]] = {}
        self._failure: Exception | None = None
        self._task: asyncio.Task[None] | None = None

    async def read(self, position: int) -> Batch:
        """What comes after `position`; may be empty. Those who ask for the same at the same time share one look."""
        known = self._recent.get(position)
        if known is not None:
            return known
        reading = self._reading.get(position)
        if reading is None:
            reading = self._reading[position] = asyncio.create_task(self._look(position))
            reading.add_done_callback(lambda _: self._reading.pop(position, None))
        return await asyncio.shield(reading)

    async def wait(self, position: int, seconds: float) -> None:
        """Wait for news after `position`, where a read just found nothing; at most that many seconds.

        Raises:
            QuickalignError: what looking for news failed with.
        """
        if self._task is None or self._task.done():
            self._failure, self._position = None, position
            self._task = asyncio.create_task(self._watch())
        # the watcher may have passed this place meanwhile, or was begun by one who asked for what is not there yet
        self._position = min(self._position, position)
        async with self._news:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._news.wait_for(lambda: self._has_passed(position))
        if self._failure is not None:
            raise self._failure

    def end(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()

    def _has_passed(self, position: int) -> bool:
        return position in self._recent or self._position > position or self._failure is not None

    async def _look(self, position: int) -> Batch:
        return await anyio.to_thread.run_sync(self._read, position, limiter=self._limiter)

    async def _watch(self) -> None:
        """Look for news as long as somebody follows; less often while there is none."""
        pause = _SHORTEST_PAUSE
        try:
            while self.followers:
                batch = await self._look(self._position)
                if batch.is_empty and not batch.complete:
                    await asyncio.sleep(pause)
                    pause = min(pause * 1.5, _LONGEST_PAUSE)
                    continue
                pause = _SHORTEST_PAUSE
                await self._tell(batch)
                if batch.complete:
                    return
        except Exception as error:  # told to all followers
            self._failure = error
            async with self._news:
                self._news.notify_all()

    async def _tell(self, batch: Batch) -> None:
        self._recent[batch.start] = batch
        while len(self._recent) > _KEPT_BATCHES:
            del self._recent[next(iter(self._recent))]
        if self._position == batch.start:
            self._position = batch.next
        async with self._news:
            self._news.notify_all()


class Streams:
    """All open event streams of a server."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._topics: dict[Key, _Topic] = {}
        self._limiter: anyio.CapacityLimiter | None = None
        self._closing = asyncio.Event()

    def close(self) -> None:
        """End all streams: the server is about to stop, and clients come back to the next one."""
        self._closing.set()
        for topic in self._topics.values():
            topic.end()

    async def follow(self, key: Key, read: Read, position: int) -> AsyncGenerator[bytes]:
        """The bytes of a stream from `position` until the job is over, with signs of life in between."""
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(_READERS)
        topic = self._topics.setdefault(key, _Topic(read, self._limiter))
        topic.followers += 1
        self._metrics.followers.inc()
        try:
            async for chunk in self._chunks(topic, position):
                yield chunk
        except NotFoundError:
            yield sse.encode("{}", event="end")  # the job was deleted while it was followed
        except QuickalignError:
            return  # cut off; the client comes back and is told why
        finally:
            self._metrics.followers.dec()
            topic.followers -= 1
            if not topic.followers:
                topic.end()
                if self._topics.get(key) is topic:
                    del self._topics[key]

    async def _chunks(self, topic: _Topic, position: int) -> AsyncGenerator[bytes]:
        yield sse.HEARTBEAT  # headers and a first byte go out at once
        told = time.monotonic()
        while not self._closing.is_set():
            batch = await topic.read(position)
            if batch.is_empty and not batch.complete:
                await self._wait(topic, position)
                if time.monotonic() - told >= _HEARTBEAT_SECONDS:
                    told = time.monotonic()
                    yield sse.HEARTBEAT
                continue
            told = time.monotonic()
            if batch.body:
                yield batch.body
            position = batch.next
            if batch.complete:
                yield sse.encode(f'{{"position":{position}}}', event="end")
                return

    async def _wait(self, topic: _Topic, position: int) -> None:
        """Until there is news, the heart should beat, or the server stops."""
        waiting = asyncio.create_task(topic.wait(position, _HEARTBEAT_SECONDS))
        closing = asyncio.create_task(self._closing.wait())
        try:
            await asyncio.wait({waiting, closing}, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                waiting.result()
        finally:
            waiting.cancel()
            closing.cancel()
