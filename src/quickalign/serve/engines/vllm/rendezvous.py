"""Where the processes of one user that share a vLLM find its keeper: an abstract Unix socket named by a key.

The kernel keeps such a name exactly as long as somebody listens: nothing is left of a keeper that was killed, and of
two that would listen at once one cannot. Each side says one JSON object a line.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import struct
import sys
from contextlib import suppress
from typing import Any

from quickalign.core.errors import RunError

IS_POSSIBLE = sys.platform == "linux"
"""Whether this system has abstract sockets."""
WHO = {"who": True}
"""Asks a keeper for its clients."""
_WAITING = 128
_MOST_BYTES = 1 << 20
_ANSWER_SECONDS = 2.0
_CREDENTIALS = struct.Struct("3i")


def listen(key: str) -> socket.socket | None:
    """A socket that listens by the key's name; None where there is one already."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(_name(key))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise
    listener.listen(_WAITING)
    return listener


def connect(key: str) -> socket.socket | None:
    """A connection to who listens by the key's name; None where nobody does.

    Raises:
        RunError: it is another user.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(_name(key))
    except ConnectionRefusedError:
        connection.close()
        return None
    if not is_ours(connection):
        user = peer(connection)[1]
        connection.close()
        raise RunError(
            f"The name under which services share a base is taken by the user {user}.",
            "Set share_base=false, or let that user's process end.",
        )
    return connection


def peer(connection: socket.socket) -> tuple[int, int]:
    """Process and user at the other end, as the kernel knows them."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, user, _ = _CREDENTIALS.unpack(found)
    return pid, user


def is_ours(connection: socket.socket) -> bool:
    """Whether the other end belongs to this process's user."""
    return peer(connection)[1] == os.geteuid()


def say(connection: socket.socket, what: dict[str, Any]) -> None:
    """Send one line.

    Raises:
        OSError: the other end is gone.
    """
    connection.sendall(json.dumps(what).encode() + b"\n")


def hear(connection: socket.socket) -> dict[str, Any] | None:
    """Wait for one line; None where the other end goes without one, or says what is none."""
    told = b""
    with suppress(ConnectionError, ValueError):
        while not told.endswith(b"\n") and len(told) < _MOST_BYTES:
            piece = connection.recv(65536)
            if not piece:
                return None
            told += piece
        found = json.loads(told)
        return found if isinstance(found, dict) else None
    return None


def clients_of(key: str) -> tuple[int, ...] | None:
    """The processes that use the vLLM of this key; none where there is no keeper, None where one does not answer."""
    try:
        connection = connect(key)
        if connection is None:
            return ()
        with connection:
            connection.settimeout(_ANSWER_SECONDS)
            say(connection, WHO)
            told = hear(connection)
    except (OSError, RunError):
        return None
    return None if told is None else tuple(int(pid) for pid in told.get("clients", ()))


def _name(key: str) -> bytes:
    return b"\0quickalign-vllm-" + key.encode("ascii")
