"""Values between the two processes of a replica: pickles, each behind its length, over a socket that only they have."""

from __future__ import annotations

import pickle
import socket
import struct
from collections import deque
from typing import Any

_LENGTH = struct.Struct("!Q")
_READ_BYTES = 1 << 16


def pack(value: Any) -> bytes:
    """A value as it is sent."""
    content = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(content)) + content


class Unpacker:
    """Finds values in bytes that come in pieces of any size."""

    def __init__(self) -> None:
        self._held = bytearray()

    def push(self, data: bytes) -> list[Any]:
        """The values that are complete with `data`."""
        held, begin, found = self._held, 0, []
        held += data
        while len(held) - begin >= _LENGTH.size:
            end = begin + _LENGTH.size + _LENGTH.unpack_from(held, begin)[0]
            if len(held) < end:
                break
            found.append(pickle.loads(memoryview(held)[begin + _LENGTH.size : end]))  # noqa: S301 - of our own process
            begin = end
        del held[:begin]
        return found


class Pipe:
    """A side that waits: it sends and receives whole values. One thread may send while another receives."""

    def __init__(self, side: socket.socket) -> None:
        self.side = side
        self._unpacker = Unpacker()
        self._came: deque[Any] = deque()

    def send(self, value: Any) -> None:
        """Send a value.

        Raises:
            OSError: the other side is gone.
        """
        self.side.sendall(pack(value))

    def receive(self) -> Any:
        """The next value.

        Raises:
            EOFError, OSError: the other side is gone.
        """
        while not self._came:
            data = self.side.recv(_READ_BYTES)
            if not data:
                raise EOFError
            self._came.extend(self._unpacker.push(data))
        return self._came.popleft()
