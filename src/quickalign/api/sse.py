"""Server-sent events as of the WHATWG's HTML standard, section 9.2: events to bytes."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from starlette.responses import StreamingResponse
from starlette.types import Send

HEARTBEAT = b": still here\n\n"
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def encode(data: str, *, event: str | None = None, identity: int | None = None) -> bytes:
    """One event. `identity` is what a client that lost its connection sends back as `Last-Event-ID`."""
    lines = []
    if event is not None:
        lines.append(f"event: {event}")
    if identity is not None:
        lines.append(f"id: {identity}")
    # what a client takes for the end of a line would otherwise cut the data
    plain = data.replace("\r\n", "\n").replace("\r", "\n")
    lines.extend(f"data: {line}" for line in plain.split("\n"))
    return ("\n".join(lines) + "\n\n").encode("utf-8", "replace")


class EventStream(StreamingResponse):
    """An answer of events."""

    media_type = "text/event-stream"

    def __init__(
        self, content: AsyncGenerator[bytes], status_code: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(content, status_code, headers={**_HEADERS, **(headers or {})})
        self._content = content

    async def stream_response(self, send: Send) -> None:
        """See `StreamingResponse`; a client that went away ends it quietly."""
        async with aclosing(self._content):
            try:
                await super().stream_response(send)
            except OSError:
                return


def start_of(last_event_id: str | None, asked: int) -> int:
    """Where a stream begins: after the last event a client saw, else where it asks for."""
    if last_event_id is not None and last_event_id.isascii() and last_event_id.isdigit():
        return min(int(last_event_id), 2**53)
    return asked
