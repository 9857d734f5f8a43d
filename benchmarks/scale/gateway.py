"""What one answer costs the gateway, by a gateway in a process of its own before a replica that only pretends."""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import time
from multiprocessing.connection import Connection
from urllib.parse import urlsplit

import aiohttp
import psutil

from benchmarks.gateway_overhead import TOKEN, started

EVENTS, ANSWERS, AT_ONCE = 200, 60, 8
_EVENT = (
    b'data: {"id":"chatcmpl-0","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
)
_DONE = b"data: [DONE]\n\n"
_WHOLE = b'{"choices":[{"index":0,"message":{"content":"x"}}],"usage":{"completion_tokens":1}}'
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ntransfer-encoding: chunked\r\n\r\n"


async def _replica(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
            body = await reader.readexactly(int(fields.get(b"content-length", b"0")))
            if b'"stream":true' in body.replace(b" ", b""):
                writer.write(_HEAD % b"text/event-stream")
                for _ in range(EVENTS):
                    writer.write(b"%x\r\n%s\r\n" % (len(_EVENT), _EVENT))
                    await asyncio.sleep(0.0005)  # each in a packet of its own
                writer.write(b"%x\r\n%s\r\n" % (len(_DONE), _DONE))
            else:
                writer.write(_HEAD % b"application/json" + b"%x\r\n%s\r\n" % (len(_WHOLE), _WHOLE))
            writer.write(b"0\r\n\r\n")
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def _serve(told: Connection) -> None:
    async def main() -> None:
        server = await asyncio.start_server(_replica, "127.0.0.1", 0)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


async def _ask(url: str, answers: int, *, stream: bool) -> None:
    body = {"model": "one", "messages": [{"role": "user", "content": "Hello"}], "stream": stream}
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(session: aiohttp.ClientSession) -> None:
        async with gate, session.post(url, json=body, headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
            assert answer.status == 200, await answer.text()
            async for _ in answer.content.iter_any():
                pass

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(one(session) for _ in range(answers)))


def measure() -> dict[str, float]:
    """Processor time of the gateway's process for an answer in one piece, and for each event of a stream."""
    mine, theirs = multiprocessing.Pipe()
    replica = multiprocessing.Process(target=_serve, args=(theirs,), daemon=True)
    replica.start()
    try:
        upstream = f"http://127.0.0.1:{mine.recv()}"
        with started("-m", "benchmarks.gateway_overhead", "--gateway", upstream) as (process, address):
            url = f"{address}/services/one/v1/chat/completions"
            watched = psutil.Process(process.pid)
            _wait_for(address)
            asyncio.run(_ask(url, AT_ONCE, stream=True))
            whole = _cpu(watched, url, stream=False)
            streamed = _cpu(watched, url, stream=True)
    finally:
        replica.terminate()
        replica.join()
    return {
        "an_answer_cpu_ms": round(1000 * whole, 3),
        "an_event_cpu_ms": round(1000 * (streamed - whole) / EVENTS, 4),
        "answers_a_second_one_process": round(1 / whole, 1),
    }


def _wait_for(address: str) -> None:
    """Until the gateway listens; it tells its address a little before."""
    place = urlsplit(address)
    for _ in range(600):
        try:
            socket.create_connection((place.hostname, place.port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("The gateway does not begin to listen.")


def _cpu(watched: psutil.Process, url: str, *, stream: bool) -> float:
    before = sum(watched.cpu_times()[:2])
    asyncio.run(_ask(url, ANSWERS, stream=stream))
    return float(sum(watched.cpu_times()[:2]) - before) / ANSWERS
