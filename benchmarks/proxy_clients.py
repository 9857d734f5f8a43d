"""What an HTTP client costs the gateway: `python -m benchmarks.proxy_clients`.

A stub replica in a process of its own sends streams of server-sent events, each event in a packet of its own. The
clients that could carry the gateway read them in this process, one request after the other and eight at once. Shown are
the milliseconds to the first byte and the processor time of this process for a request and for an event.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import statistics
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import aiohttp
import h11
import httpx

EVENTS, ROUNDS = 200, 40
BODY = b'{"model":"default","messages":[{"role":"user","content":"Hello"}],"stream":true}'
EVENT = (
    b'data: {"id":"chatcmpl-0","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
HEADERS = {"Content-Type": "application/json", "Authorization": "Bearer t"}

Read = Callable[[int], AsyncGenerator[bytes, None]]


async def _replica(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while await reader.readuntil(b"\r\n\r\n"):
        await reader.readexactly(len(BODY))
        writer.write(HEAD)
        for _ in range(EVENTS):
            writer.write(b"%x\r\n%s\r\n" % (len(EVENT), EVENT))
            await asyncio.sleep(0.0005)
        writer.write(b"0\r\n\r\n")


def _serve(told: Connection) -> None:
    async def main() -> None:
        server = await asyncio.start_server(_replica, "127.0.0.1", 0)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


async def _with_httpx(stack: AsyncExitStack) -> Read:
    client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=None))

    async def read(port: int) -> AsyncGenerator[bytes, None]:
        async with client.stream("POST", f"http://127.0.0.1:{port}/", content=BODY, headers=HEADERS) as answer:
            async for chunk in answer.aiter_raw():
                yield chunk

    return read


async def _with_aiohttp(stack: AsyncExitStack) -> Read:
    client = await stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False))

    async def read(port: int) -> AsyncGenerator[bytes, None]:
        async with client.post(f"http://127.0.0.1:{port}/", data=BODY, headers=HEADERS) as answer:
            while chunk := await answer.content.readany():
                yield chunk

    return read


async def _with_h11(stack: AsyncExitStack) -> Read:
    """The thinnest client of our own that would do: streams of asyncio and h11, with kept connections."""
    kept: list[tuple[asyncio.StreamReader, asyncio.StreamWriter, h11.Connection]] = []
    stack.callback(lambda: [writer.close() for _, writer, _ in kept])

    async def read(port: int) -> AsyncGenerator[bytes, None]:
        if kept:
            reader, writer, state = kept.pop()
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            state = h11.Connection(h11.CLIENT)
        headers = [("Host", "replica"), ("Content-Length", str(len(BODY))), *HEADERS.items()]
        parts = [h11.Request(method="POST", target="/", headers=headers), h11.Data(BODY), h11.EndOfMessage()]
        writer.write(b"".join(state.send(part) or b"" for part in parts))
        while True:
            event = state.next_event()
            if event is h11.NEED_DATA:
                state.receive_data(await reader.read(1 << 16))
            elif isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                state.start_next_cycle()
                kept.append((reader, writer, state))
                return

    return read


@dataclass
class Seen:
    """What one client has shown."""

    first: list[float] = field(default_factory=list)
    seconds: float = 0.0
    chunks: int = 0


async def _one(read: Read, port: int, seen: Seen) -> None:
    begun = time.perf_counter()
    async with aclosing(read(port)) as chunks:
        async for _ in chunks:
            if begun:
                seen.first.append(time.perf_counter() - begun)
                begun = 0.0
            seen.chunks += 1


async def _measure(make: Callable[[AsyncExitStack], Any], port: int, at_once: int) -> Seen:
    seen = Seen()
    async with AsyncExitStack() as stack:
        read = await make(stack)
        await asyncio.gather(*(_one(read, port, Seen()) for _ in range(at_once)))
        before = time.process_time()
        for _ in range(ROUNDS // at_once):
            await asyncio.gather(*(_one(read, port, seen) for _ in range(at_once)))
        seen.seconds = time.process_time() - before
    return seen


def main() -> None:
    """Measure every client and print a line for each."""
    ours, theirs = multiprocessing.Pipe()
    replica = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs,), daemon=True)
    replica.start()
    port = ours.recv()
    print(f"{'client':10} {'streams':>8} {'first byte ms':>14} {'cpu ms/answer':>14} {'cpu us/event':>13}")
    for make in (_with_httpx, _with_aiohttp, _with_h11):
        for at_once in (1, 8):
            seen = asyncio.run(_measure(make, port, at_once))
            answers = len(seen.first)
            print(
                f"{make.__name__.removeprefix('_with_'):10} {at_once:8} {statistics.median(seen.first) * 1e3:14.2f} "
                f"{seen.seconds / answers * 1e3:14.2f} {seen.seconds / answers / EVENTS * 1e6:13.1f}"
            )
    replica.terminate()


if __name__ == "__main__":
    main()
