"""Answers token ids by asking a vLLM server, which batches by itself."""

from __future__ import annotations

import asyncio
import json
import queue
import threading
from collections.abc import AsyncIterator
from contextlib import nullcontext, suppress
from typing import Any, Protocol

import aiohttp

from quickalign.serve.engine import EngineInfo, Generation, TokenOut
from quickalign.serve.engines.vllm.messages import Reader, apart, body_of
from quickalign.serve.engines.vllm.places import Places

_LOOK_SECONDS = 0.005
"""How long a step waits for tokens: new requests and cancellations are looked at in between."""
_CONNECT_SECONDS = 5.0
_EVENT_BYTES = 1 << 24
"""The longest event: the log-probs of a whole prompt come in one."""


class Upstream(Protocol):
    """A running vLLM: a server of this engine's own, or a claim on one that others use too."""

    endpoint: str
    headers: dict[str, str]

    def check(self) -> None:
        """Nothing while it lives.

        Raises:
            RunError: it has ended.
        """

    def end(self) -> None:
        """Use it no more."""


class VllmCore:
    """The inside of the engine: requests run on an event loop in a thread, and `step` brings what they told.

    Args:
        server: the running vLLM, which is ended with this.
        info: what is told about it.
        model: what the server calls the model.
        most: the most choices open at it, where it does not bound them by itself.
    """

    def __init__(self, server: Upstream, info: EngineInfo, model: str, most: int | None = None) -> None:
        self.info = info
        self._server = server
        self._model = model
        self._told: queue.SimpleQueue[tuple[int, Generation, TokenOut]] = queue.SimpleQueue()
        self._open: dict[int, list[_Asked]] = {}
        self._loop = asyncio.new_event_loop()
        self._session: aiohttp.ClientSession | None = None
        self._places = None if most is None else Places(most)
        threading.Thread(target=self._loop.run_forever, daemon=True, name="vllm-client").start()

    def add(self, number: int, generation: Generation) -> None:
        """Take a generation in."""
        for part in apart(generation):
            asked = _Asked(part)
            self._open.setdefault(number, []).append(asked)
            asked.work = asyncio.run_coroutine_threadsafe(self._ask(number, asked), self._loop)

    def cancel(self, number: int, choice: int | None) -> None:
        """Drop one choice, or all; vLLM computes a dropped one in vain while others of its prompt are open."""
        for asked in self._open.get(number, ()):
            asked.choices -= {choice} if choice is not None else set(asked.choices)
            if not asked.choices and asked.work is not None:
                asked.work.cancel()
        self._forget(number)

    @property
    def idle(self) -> bool:
        """Whether nothing is asked."""
        return not self._open

    def step(self) -> list[tuple[int, TokenOut]]:
        """What came since the last step; waits a moment where nothing did.

        Raises:
            RunError: the server has ended.
        """
        out: list[tuple[int, TokenOut]] = []
        with suppress(queue.Empty):
            self._take(self._told.get(timeout=_LOOK_SECONDS), out)
            while True:
                self._take(self._told.get_nowait(), out)
        if not out:
            self._server.check()
        return out

    def check(self) -> None:
        """Nothing while the server lives.

        Raises:
            RunError: it has ended.
        """
        self._server.check()

    def abandon(self, reason: str) -> list[tuple[int, TokenOut]]:
        """Give every open choice up."""
        everyone = [(number, asked) for number, group in self._open.items() for asked in group]
        for _, asked in everyone:
            if asked.work is not None:
                asked.work.cancel()
        self._open.clear()
        return [
            (number, TokenOut(choice, None, error=reason)) for number, asked in everyone for choice in asked.choices
        ]

    def close(self) -> None:
        """End the server, or the claim on it."""
        asyncio.run_coroutine_threadsafe(self._close_session(), self._loop).result(_CONNECT_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._server.end()

    def _take(self, came: tuple[int, Generation, TokenOut], out: list[tuple[int, TokenOut]]) -> None:
        number, generation, told = came
        asked = next((one for one in self._open.get(number, ()) if one.generation is generation), None)
        if asked is None or told.choice not in asked.choices:
            return
        if told.finish is not None or told.error is not None:
            asked.choices.discard(told.choice)
            self._forget(number)
        out.append((number, told))

    def _forget(self, number: int) -> None:
        """Drop what is over of a request."""
        group = [asked for asked in self._open.get(number, ()) if asked.choices]
        if group:
            self._open[number] = group
        else:
            self._open.pop(number, None)

    async def _close_session(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _ask(self, number: int, asked: _Asked) -> None:
        """One request of vLLM from its beginning to its end, whatever that is."""
        generation = asked.generation
        reader = Reader(generation)
        error = "vLLM ended the answer without a finish."
        try:
            async with self._places.taken(generation.choices) if self._places else nullcontext():
                async for event in self._events(body_of(self._model, generation)):
                    for told in reader.read(event):
                        self._told.put((number, generation, told))
        except _RefusedError as refused:
            error = str(refused)
        except (aiohttp.ClientError, OSError, ValueError, KeyError, TimeoutError) as broken:
            error = f"vLLM's answer broke off: {str(broken) or type(broken).__name__}"
        for index in sorted(reader.open):
            self._told.put((number, generation, TokenOut(generation.first + index, None, error=error)))

    async def _events(self, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        if self._session is None:
            limits = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                timeout=limits,
                headers=self._server.headers,
                read_bufsize=_EVENT_BYTES,
            )
        async with self._session.post(f"{self._server.endpoint}/v1/completions", json=body) as answer:
            if answer.status != 200:
                raise _RefusedError(f"vLLM answered {answer.status}: {(await answer.text())[:500]}")
            async for line in answer.content:
                data = line.removeprefix(b"data: ").strip()
                if not line.startswith(b"data: ") or data == b"[DONE]":
                    continue
                event = json.loads(data)
                if "error" in event:
                    raise _RefusedError(f"vLLM failed: {event['error'].get('message', event['error'])}")
                yield event


class _Asked:
    """One generation that vLLM is asked for, and its choices that are still wanted."""

    def __init__(self, generation: Generation) -> None:
        self.generation = generation
        self.choices = set(range(generation.first, generation.first + generation.choices))
        self.work: Any = None


class _RefusedError(Exception):
    """vLLM said that it cannot."""
