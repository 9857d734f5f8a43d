"""Machines that are none: network namespaces on a bridge, each with an address of its own and a wire that can be cut.

Needs root and iproute2 (`ip`). Processes in a namespace share files and process ids with this machine, not its network.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """One namespace. Start a process there with `enter` before its command."""

    namespace: str
    address: str
    wire: str

    @property
    def enter(self) -> list[str]:
        return ["ip", "netns", "exec", self.namespace]


class Network:
    """A bridge, whose own address is this machine's, and the places on it."""

    def __init__(self) -> None:
        number = os.getpid()
        self._tag = f"qa{number % 100000}"
        self._prefix = f"10.{200 + number % 50}.{number // 50 % 250}"
        self._places: list[Place] = []
        self._count = 1
        self.address = f"{self._prefix}.1"
        _ip("link", "add", self._bridge, "type", "bridge")
        _ip("addr", "add", f"{self.address}/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")

    @property
    def _bridge(self) -> str:
        return f"{self._tag}b"

    def plug(self) -> Place:
        """One more place."""
        self._count += 1
        place = Place(f"{self._tag}n{self._count}", f"{self._prefix}.{self._count}", f"{self._tag}h{self._count}")
        inner = f"{self._tag}i{self._count}"
        _ip("netns", "add", place.namespace)
        self._places.append(place)
        _ip("link", "add", place.wire, "type", "veth", "peer", "name", inner)
        _ip("link", "set", inner, "netns", place.namespace)
        _ip("link", "set", place.wire, "master", self._bridge, "up")
        for words in (["addr", "add", f"{place.address}/24", "dev", inner], ["link", "set", inner, "up"]):
            _ip("-n", place.namespace, *words)
        _ip("-n", place.namespace, "link", "set", "lo", "up")
        return place

    def cut(self, place: Place) -> None:
        """Nothing comes through the place's wire any more, in either direction."""
        _ip("link", "set", place.wire, "down")

    def mend(self, place: Place) -> None:
        """The wire is whole again."""
        _ip("link", "set", place.wire, "up")

    def unplug(self, place: Place) -> None:
        """The place is gone; what still runs there has no network."""
        self._places.remove(place)
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip("link", "del", place.wire)
        _ip("netns", "del", place.namespace)

    def close(self) -> None:
        """All is gone."""
        for place in list(self._places):
            self.unplug(place)
        _ip("link", "del", self._bridge)


def can_have_networks() -> bool:
    """Whether this process may make namespaces; containers often may not."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = f"qa{os.getpid() % 100000}t"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode == 0
    if made:
        _ip("netns", "del", name)
    return made


@contextlib.contextmanager
def network() -> Iterator[Network | None]:
    """A network for the time of the block; None where this process may not make one."""
    made = Network() if can_have_networks() else None
    try:
        yield made
    finally:
        if made is not None:
            made.close()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
