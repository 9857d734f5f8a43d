"""Following a job or a service live: its events, log and metrics as they come, over server-sent events.

Each stream is read by a thread of its own and goes on where it was when the connection or the server was lost.
"""

import queue
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

import httpx
import orjson

from quickalign.core.errors import QuickalignError, UnavailableError
from quickalign.core.wire.jobs import Event, LogChunk
from quickalign.sdk import sse
from quickalign.sdk.client import Client

Stream = Literal["events", "logs", "steps", "evaluations"]

_READ_SECONDS = 60.0
"""Silence after which a connection counts as lost; servers send a sign of life more often."""

_GIVE_UP_SECONDS = 120.0
"""How long a lost server is waited for."""

_TICK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class MetricsLine:
    """One optimiser step or one evaluation, as the job wrote it."""

    kind: Literal["steps", "evaluations"]
    values: dict[str, Any]


Item = Event | LogChunk | MetricsLine


def follow(
    client: Client,
    name: str,
    start: dict[Stream, int],
    *,
    kind: Literal["jobs", "services"] = "jobs",
    query: Mapping[str, str] | None = None,
) -> Iterator[Item | None]:
    """What happens to a job or a service until it is over and all was told; None once a second while nothing happens.

    Args:
        client: for its server.
        name: the job's id, or the service's name or id.
        start: the streams to follow, each with the sequence number or offset after which it begins. It is moved along
            with what is told, so that another call goes on from there.
        kind: which of the two it is.
        query: what else every stream is asked with.

    Raises:
        QuickalignError: there is none of that name, or the server stays away for two minutes.
    """
    found: queue.Queue[Item | _End] = queue.Queue()
    stopped = threading.Event()
    path = f"/{kind}/{quote(name, safe='')}"
    readers = [_Reader(client, path, stream, at, query or {}, found, stopped) for stream, at in start.items()]
    for reader in readers:
        threading.Thread(target=reader.run, name=f"follow-{reader.stream}", daemon=True).start()
    open_streams = len(readers)
    try:
        while open_streams:
            try:
                item = found.get(timeout=_TICK_SECONDS)
            except queue.Empty:
                yield None
                continue
            if not isinstance(item, _End):
                _move_along(start, item)
                yield item
            elif item.error:
                raise item.error
            else:
                open_streams -= 1
    finally:
        stopped.set()


def _move_along(start: dict[Stream, int], item: Item) -> None:
    match item:
        case Event():
            start["events"] = item.sequence
        case LogChunk():
            start["logs"] = item.next_offset
        case MetricsLine():
            start[item.kind] += 1


@dataclass(frozen=True, slots=True)
class _End:
    """A stream's last word."""

    error: Exception | None


class _Reader:
    """Reads one stream to its end."""

    def __init__(
        self,
        client: Client,
        path: str,
        stream: Stream,
        position: int,
        query: Mapping[str, str],
        found: "queue.Queue[Item | _End]",
        stopped: threading.Event,
    ) -> None:
        self.stream = stream
        self._client = client
        self._path = f"{path}/{'metrics' if stream in ('steps', 'evaluations') else stream}/stream"
        self._position = str(position)
        self._query = query
        self._found = found
        self._stopped = stopped

    def run(self) -> None:
        """Read until the end, the stop, or an error; however it goes, its last item says so."""
        error: Exception | None = None
        try:
            self._read_all()
        except Exception as caught:  # raised again where the items are read
            error = caught
        self._found.put(_End(error))

    def _read_all(self) -> None:
        lost_at = pause = 0.0
        while not self._stopped.is_set():
            before = self._position
            try:
                if self._read_once():
                    return
                failure: Exception = UnavailableError(f"The stream of {self._path} ended too early.")
            except (httpx.TransportError, UnavailableError) as error:
                failure = error
            now = time.monotonic()
            if self._position != before or not lost_at:
                lost_at, pause = now, 0.1
            if now - lost_at > _GIVE_UP_SECONDS:
                raise self._gone(failure)
            self._stopped.wait(pause)
            pause = min(2 * pause, 3.0)
            self._client.find_again()

    def _read_once(self) -> bool:
        """Read one connection; returns whether the stream is complete."""
        query = {**self._query, ("after" if self.stream == "events" else "offset"): self._position}
        if self.stream in ("steps", "evaluations"):
            query["kind"] = self.stream
        timeout = httpx.Timeout(_READ_SECONDS, connect=5.0)
        with (
            self._client.stream(self._path, query=query, timeout=timeout) as response,
            closing(sse.events(response.iter_bytes())) as events,
        ):
            for event in events:
                if self._stopped.is_set() or event.kind == "end":
                    return True
                for item in self._items(event):
                    self._found.put(item)
                # only now: what was not handed over is asked for again
                self._position = event.id or self._position
        return False

    def _items(self, event: sse.ServerEvent) -> Iterator[Item]:
        match self.stream:
            case "events":
                yield Event.model_validate_json(event.data, extra="ignore")
            case "logs":
                yield LogChunk.model_validate_json(event.data, extra="ignore")
            case "steps" | "evaluations":
                yield MetricsLine(self.stream, orjson.loads(event.data))

    def _gone(self, failure: Exception) -> QuickalignError:
        if isinstance(failure, QuickalignError):
            return failure
        return UnavailableError(
            f"The server at {self._client.place.endpoint} went away and did not come back within "
            f"{_GIVE_UP_SECONDS:.0f} s ({type(failure).__name__}: {failure}).",
            "What it ran goes on; follow it again when the server is back.",
        )
