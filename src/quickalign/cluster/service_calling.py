"""Calling an application without a connection: a request as a value, the answer as what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

from starlette.types import ASGIApp, Message, Scope

from quickalign.cluster.service_messages import Asked, Begun

_Part = Begun | bytes | None


async def call(app: ASGIApp, asked: Asked) -> AsyncGenerator[Begun | bytes, None]:
    """What `app` answers, as it comes; what comes at once is told as one part.

    Closing the generator is to the application as if the client had gone away.
    """
    parts: asyncio.Queue[_Part] = asyncio.Queue()
    gone = asyncio.Event()
    unread = [asked.body]

    async def receive() -> Message:
        if unread:
            return {"type": "http.request", "body": unread.pop(), "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            parts.put_nowait(Begun(message["status"], tuple(message.get("headers", ()))))
        elif body := message.get("body"):
            parts.put_nowait(body)

    work = asyncio.ensure_future(app(_scope(asked), receive, send))
    work.add_done_callback(lambda _: parts.put_nowait(None))
    try:
        ended = False
        while not ended:
            found = _together(await parts.get(), parts)
            for part in found:
                ended = part is None
                if part is not None:
                    yield part
        work.result()
    finally:
        gone.set()
        work.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await work


def _together(first: _Part, parts: asyncio.Queue[_Part]) -> list[_Part]:
    """`first` and what else is there already, bodies that follow each other as one."""
    found: list[_Part] = [first]
    while not parts.empty():
        part, last = parts.get_nowait(), found[-1]
        if isinstance(part, bytes) and isinstance(last, bytes):
            found[-1] = last + part
        else:
            found.append(part)
    return found


def _scope(asked: Asked) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": asked.method,
        "scheme": "http",
        "path": asked.path,
        "raw_path": asked.path.encode(),
        "root_path": "",
        "query_string": asked.query,
        "headers": list(asked.headers),
        "client": None,
        "server": None,
    }
