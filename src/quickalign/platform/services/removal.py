"""Proof of deletion: what a replica held is looked for, and is only said to be gone when it is not found."""

import shutil
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quickalign.core.wire.services import Removal
from quickalign.platform.db.service_tables import ReplicaRow
from quickalign.platform.executors.base import Attempt, Executor
from quickalign.platform.home import Home
from quickalign.platform.processes import Identity, Sight, look
from quickalign.platform.services.records import port_of

_CONNECT_SECONDS = 1.0
_KEPT_LOG_BYTES = 1 << 20
_KEPT_LOGS = 20


@dataclass(frozen=True, slots=True)
class Freed:
    """What a replica held and holds no more."""

    processes: tuple[int, ...] = ()
    ports: tuple[int, ...] = ()
    memory_bytes: int = 0

    def added_to(self, removal: dict[str, Any] | None, folder: Path) -> dict[str, Any]:
        """`removal` of the service in `folder` with this."""
        before = Removal.model_validate(removal) if removal else None
        if before and self.processes and set(self.processes) <= set(before.processes):
            return before.model_dump(mode="json")  # a keeper that went with another replica of the service
        return Removal(
            processes=(*(before.processes if before else ()), *self.processes),
            ports=(*(before.ports if before else ()), *self.ports),
            memory_bytes=(before.memory_bytes if before else 0) + self.memory_bytes,
            folder=str(folder),
        ).model_dump(mode="json")


def identities(row: ReplicaRow) -> tuple[Identity, ...]:
    """The processes of a replica as they were last seen."""
    return tuple(Identity.model_validate(one) for one in (row.processes or {}).get("identities", []))


def prove(executor: Executor, attempt: Attempt, row: ReplicaRow) -> Freed | None:
    """What the replica has freed; None as long as anything of it is found, or nobody can say.

    A process counts as gone when neither it nor anything that it started is there. Then its port is free, and is named
    as such unless somebody else has taken it since.
    """
    known = identities(row)
    if executor.processes(attempt) or any(look(one) is not Sight.GONE for one in known):
        return None
    port = port_of(row.endpoint)
    ports = () if port is None or _listens(port) else (port,)
    return Freed(tuple(one.pid for one in known), ports, row.held_bytes or 0)


def keep_log(files: list[Path], target: Path) -> None:
    """Keep the end of what a replica said, and of all such logs the newest."""
    content = b"".join(file.read_bytes() for file in files)[-_KEPT_LOG_BYTES:]
    if content:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        for old in sorted(target.parent.iterdir(), key=lambda file: file.stat().st_mtime)[:-_KEPT_LOGS]:
            old.unlink(missing_ok=True)


def remove_folder(folder: Path, home: Home) -> bool:
    """Remove a folder; whether it is gone. It is moved aside first, so that nothing finds half of it."""
    asides = home.asides(folder, folder.name)
    _remove(asides)
    if folder.exists():
        home.set_aside(folder, folder.name)
    _remove(asides)
    return not any(one.exists() for one in (folder, *asides))


def _remove(folders: Iterable[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_CONNECT_SECONDS):
            return True
    except ConnectionRefusedError:
        return False
    except OSError:
        return True
