"""What goes between the endpoint of a service and its replicas."""

from __future__ import annotations

from dataclasses import dataclass

Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came. The names of `headers` are lower case."""

    method: str
    path: str
    query: bytes
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class Arrived:
    """A replica has the request, and begins with it."""


@dataclass(frozen=True, slots=True)
class Begun:
    """The answer has begun: its status and headers. Parts of its body follow as bytes."""

    status: int
    headers: Headers


Told = Arrived | Begun | bytes
"""One thing that a replica tells: that it has the request, how the answer begins, then what it says."""


class LostError(Exception):
    """The replica that had a request is gone."""


class FullError(Exception):
    """As many requests wait for a replica as may."""
