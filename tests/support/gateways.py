"""What the gateway stands between, for its tests: services in memory, stub replicas, and a server in a thread."""

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import uvicorn

from quickalign.core.wire.jobs import Reason
from quickalign.core.wire.services import Limits, ServiceMetrics, ServiceState
from quickalign.platform.services.routes import Route, Upstream
from quickalign.serve.http.protocol import BoundedHttp

EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}\n\n'
ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
WHOLE = json.dumps(
    {
        "choices": [{"message": {"role": "assistant", "content": "whole"}}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 7},
    },
    separators=(",", ":"),
).encode()


MADE = 1_750_000_000.5
"""When every service was made."""


class FakeEndpoints:
    """`platform.services.endpoints` in memory."""

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}
        self.tokens: dict[str, dict[str, str]] = {}
        self.touched: list[str] = []
        self.suspects: list[str] = []
        self.on_touch: Callable[[str], None] = lambda service: None
        self.open_requests: Callable[[str], int] = lambda replica: 0
        self.metrics: Callable[[str], ServiceMetrics] = lambda service: ServiceMetrics(
            requests=0, errors=0, open_requests=0, tokens_out=0
        )

    def forget(self) -> None:
        self.routes.clear()
        self.tokens.clear()
        self.touched.clear()
        self.suspects.clear()
        self.on_touch = lambda service: None

    def add(self, name: str, *replicas: Upstream, token: str | None = None, **more: Any) -> Route:
        values = {"state": ServiceState.RUNNING, "reason": None, "limits": Limits(), "model_names": (name,)}
        values |= {"created_at": MADE} | more
        route = Route(service_id=f"service-{name}", name=name, replicas=replicas, **values)
        self.routes[route.service_id] = route
        self.tokens[route.service_id] = {"service": token or f"qs-{name}"}
        return route

    def change(self, name: str, **values: Any) -> None:
        self.routes[f"service-{name}"] = replace(self.routes[f"service-{name}"], **values)

    def find(self, name: str) -> Route | None:
        return next((each for each in self.all() if name == each.service_id or name in each.model_names), None)

    def all(self) -> tuple[Route, ...]:
        return tuple(self.routes.values())

    def verify(self, service_id: str, text: str) -> str | None:
        return next((name for name, token in self.tokens.get(service_id, {}).items() if token == text), None)

    def touch(self, service_id: str) -> None:
        self.touched.append(service_id)
        self.on_touch(service_id)

    def broken(self, replica_id: str) -> None:
        self.suspects.append(replica_id)


@dataclass
class StubReplica:
    """Speaks HTTP as its requests' last message tells it to.

    `say N` streams N tokens; `die N` closes the connection after N of them, and `cut N` in the middle of the event after;
    `end N` ends the stream in order but without an end event; `hang N` waits for the client to go; `status N` answers so;
    `flood N` streams N events of 16 KiB; `wait` answers when `release` is set. Anything else is answered in one piece.
    """

    name: str
    port: int = 0
    requests: list[dict[str, Any]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    sent: int = 0
    release: threading.Event = field(default_factory=threading.Event)
    override: str | None = None

    @property
    def upstream(self) -> Upstream:
        return Upstream(self.name, 1, f"http://127.0.0.1:{self.port}", f"token-{self.name}", 80)

    def forget(self) -> None:
        self.requests.clear()
        self.left.clear()
        self.sent, self.override = 0, None
        self.release.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._answer(reader, writer):
                pass
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        self.requests.append({"line": head[0], "headers": headers, "body": raw})
        word, number = self._order(raw)
        if word == "status":
            writer.write(
                b"HTTP/1.1 %d X\r\ncontent-length: 2\r\nretry-after: 3\r\ncontent-type: application/json\r\n\r\n{}"
                % number
            )
        elif word in ("die", "say", "cut", "end", "hang", "flood"):
            return await self._stream(word, number, reader, writer)
        else:
            while word == "wait" and not self.release.is_set():
                await asyncio.sleep(0.01)
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(WHOLE) + WHOLE
            )
        await writer.drain()
        return True

    def _order(self, raw: bytes) -> tuple[str, int]:
        try:
            text = self.override or json.loads(raw)["messages"][-1]["content"]
        except (ValueError, KeyError, TypeError, IndexError):
            text = ""
        word, _, number = str(text).partition(" ")
        return word, int(number) if number.isdigit() else 0

    async def _stream(self, word: str, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if word == "die" and number == 0:
            return False

        def put(part: bytes) -> None:
            writer.write(b"%x\r\n%s\r\n" % (len(part), part))

        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        if word == "cut" and number == 0:
            put(ROLE[:20])
            await writer.drain()
            return False
        put(ROLE)
        for index in range(number):
            put(EVENT % (b"x" * (16384 if word == "flood" else 1)))
            await writer.drain()
            self.sent = index + 1
        if word == "cut":
            put(EVENT[:30])
        if word == "hang":
            await reader.read(1)
            self.left.append(self.name)
            return False
        if word in ("die", "cut"):
            await writer.drain()
            return False
        if word != "end":
            put(END)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


@contextlib.contextmanager
def stub_replicas(count: int) -> Iterator[list[StubReplica]]:
    """Stub replicas in a thread."""
    stubs = [StubReplica(f"replica-{number}") for number in range(count)]
    started, loop = threading.Event(), asyncio.new_event_loop()

    def run() -> None:
        asyncio.set_event_loop(loop)
        servers = [loop.run_until_complete(asyncio.start_server(stub.serve, "127.0.0.1", 0)) for stub in stubs]
        for stub, server in zip(stubs, servers, strict=True):
            stub.port = server.sockets[0].getsockname()[1]
        started.set()
        loop.run_forever()
        for server in servers:
            server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield stubs
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


@contextlib.contextmanager
def running(app: Any) -> Iterator[str]:
    """The application behind a socket; yields its address."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, http=BoundedHttp, log_config=None, lifespan="off", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    wait_for(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


def wait_for(so: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until it is so."""
    end = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def reason(message: str, code: str = "test") -> Reason:
    return Reason(code=code, message=message)
