"""The outside of an engine whose core runs in a process of its own."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

from quickalign.core.errors import QuickalignError
from quickalign.serve.engine import EngineBusyError, EngineFailedError, EngineInfo, Generation, Load, TokenOut
from quickalign.serve.pipe import Pipe, Unpacker, pack

_END_SECONDS = 5.0
_RETRY_AFTER = 1


class Child:
    """A process that waits for what to load. Leave it by `ProcessEngine.start`, or by `end`."""

    def __init__(self, engine: str) -> None:
        self.engine = engine
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "quickalign.serve.worker", str(theirs.fileno()), engine],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=2,  # standard output says when the replica is ready, and nothing else
                env=os.environ | {"TOKENIZERS_PARALLELISM": "false"},
            )
        self.pipe = Pipe(ours)

    def load(self, load: Load) -> EngineInfo:
        """Let it load a model; waits until it has.

        Raises:
            QuickalignError: what the core raised.
            EngineFailedError: the process ended.
        """
        try:
            self.pipe.send(load)
            answer = self.pipe.receive()
        except (EOFError, OSError):
            ending = _ending(self.process.wait())
            raise EngineFailedError(f"The engine's process ended with {ending} while it loaded.") from None
        if isinstance(answer, QuickalignError):
            raise answer
        assert isinstance(answer, EngineInfo)
        return answer

    def end(self) -> None:
        """End the process at once; one that has ended already is no error."""
        self.pipe.side.close()
        self.process.kill()
        self.process.wait()


class ProcessStream:
    """What comes out of a request. Made by `ProcessEngine.submit`."""

    def __init__(self, engine: ProcessEngine, number: int, choices: set[int]) -> None:
        self._engine = engine
        self._number = number
        self._open = choices
        self._queue: asyncio.Queue[TokenOut] = asyncio.Queue()

    async def __aiter__(self) -> AsyncIterator[TokenOut]:
        """Every token of every choice as it comes.

        Raises:
            EngineFailedError: the engine gave a choice up, or is gone.
        """
        while self._open or not self._queue.empty():
            told = await self._queue.get()
            if told.error is not None:
                self.cancel()
                raise EngineFailedError(f"The engine gave up: {told.error}")
            yield told

    def cancel(self, choice: int | None = None) -> None:
        """Compute no more for one choice, or for all of them."""
        wanted = {choice} & self._open if choice is not None else set(self._open)
        if wanted:
            self._open -= wanted
            self._engine.drop(self._number, choice, len(wanted), over=not self._open)

    @property
    def open_choices(self) -> frozenset[int]:
        """The choices that are not over."""
        return frozenset(self._open)

    def take(self, told: TokenOut) -> bool:
        """Pass on what the engine told; returns whether that ended its choice."""
        if told.choice not in self._open:
            return False
        ended = told.finish is not None or told.error is not None
        if ended:
            self._open.discard(told.choice)
        self._queue.put_nowait(told)
        return ended


class ProcessEngine(asyncio.Protocol):
    """An engine in a process of its own. All methods belong to the event loop that started it.

    The loop itself reads and writes: a thread for either would cost more than all else that a token goes through.
    """

    def __init__(self, child: Child, info: EngineInfo, *, max_waiting: int) -> None:
        self.info = info
        self.failure: str | None = None
        self.failed = asyncio.Event()
        self.running = 0
        self.capacity = info.slots + max_waiting
        self._process = child.process
        self._side = child.pipe.side.fileno()
        self._streams: dict[int, ProcessStream] = {}
        self._numbers = iter(range(1 << 62))
        self._unpacker = Unpacker()
        self._wire: asyncio.WriteTransport | None = None
        self._ending: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, child: Child, load: Load, *, max_waiting: int) -> ProcessEngine:
        """Let `child` load a model.

        Raises:
            QuickalignError: what the core raised while it loaded.
            EngineFailedError: the process ended while it loaded.
        """
        try:
            info = await asyncio.to_thread(child.load, load)
            engine = cls(child, info, max_waiting=max_waiting)
            child.pipe.side.setblocking(False)
            loop = asyncio.get_running_loop()
            engine._wire, _ = await loop.create_unix_connection(lambda: engine, sock=child.pipe.side)
        except BaseException:
            child.end()
            raise
        return engine

    @property
    def pid(self) -> int:
        """The engine's process."""
        return self._process.pid

    def submit(self, generations: Sequence[Generation]) -> ProcessStream:
        """Start a request; all of its generations are taken or none.

        Raises:
            EngineBusyError: too many choices are open.
            EngineFailedError: the engine is gone.
        """
        if self.failure is not None:
            raise EngineFailedError(self.failure)
        choices = {one.first + index for one in generations for index in range(one.choices)}
        if self.running + len(choices) > self.capacity:
            raise EngineBusyError(
                f"{self.running} answers are being made or wait, and {self.capacity} is the most.", _RETRY_AFTER
            )
        number = next(self._numbers)
        self.running += len(choices)
        self._streams[number] = stream = ProcessStream(self, number, choices)
        self._write([(number, generation) for generation in generations])
        return stream

    def drop(self, number: int, choice: int | None, count: int, *, over: bool) -> None:
        """Cancel `count` choices of request `number`; called by its stream."""
        self.running -= count
        if over:
            self._streams.pop(number, None)
        self._write([(number, choice)])

    def fail(self, reason: str) -> None:
        """End every open stream with an error, and take no more requests."""
        if self.failure is None:
            self.failure = reason
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            for choice in stream.open_choices:
                stream.take(TokenOut(choice, None, error=self.failure))
        self.running = 0
        self.failed.set()

    async def close(self) -> None:
        """End the process and every stream."""
        self.fail("The replica is shutting down.")
        if self._wire is not None:
            self._wire.abort()
        self._process.terminate()
        try:
            await asyncio.to_thread(self._process.wait, _END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        for told in self._unpacker.push(data):
            self._dispatch(told)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`. The end of the process is the end of all streams."""
        if self.failure is None:
            self._ending = asyncio.ensure_future(self._tell_ending())

    def _write(self, messages: Sequence[Any]) -> None:
        """Send messages; what the process does not take at once is kept, so that this never waits.

        uvloop writes when all that is ready now has run, which is when a request's whole answer has been made ready.
        So what can be sent is sent here, and the engine begins meanwhile.
        """
        assert self._wire is not None
        if self.failure is not None or self._wire.is_closing():  # its descriptor may be another file's by now
            return
        data, sent = b"".join(map(pack, messages)), 0
        if not self._wire.get_write_buffer_size():
            with suppress(OSError):  # an end is told to `connection_lost`
                sent = os.write(self._side, data)
        if sent < len(data):
            self._wire.write(data[sent:])

    async def _tell_ending(self) -> None:
        code = await asyncio.to_thread(self._process.wait)
        self.fail(f"The engine's process ended with {_ending(code)}.")

    def _dispatch(self, told: list[tuple[int, TokenOut]]) -> None:
        for number, one in told:
            stream = self._streams.get(number)
            if stream is not None and stream.take(one):
                self.running -= 1
                if not stream.open_choices:
                    del self._streams[number]


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
