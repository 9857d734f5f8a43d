"""Getting a replica's folder ready and handing it to the executor."""

import json
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from quickalign.core import atomic
from quickalign.core.errors import StorageError
from quickalign.core.wire.services import RevisionSpec
from quickalign.platform.config import Config
from quickalign.platform.executors.base import Attempt, Executor, Launch
from quickalign.platform.home import Home
from quickalign.platform.services.secrets import Secrets
from quickalign.platform.services.sources import Frozen

SERVER = (sys.executable, "-m", "quickalign.serve")
CLUSTER_SERVER = (sys.executable, "-m", "quickalign.cluster.service")
"""What serves where services run on a cluster: a program that takes what `SERVER` does, and how many replicas."""
_PROGRAM_BYTES = 256 << 20
_PASSED_ON = ("engine", "precision", "system_prompt", "context", "max_concurrency", "max_waiting", "share_base")


@dataclass(frozen=True, slots=True)
class Room:
    """What a replica takes: the GPU of this machine that it was given, and how many GPUs and how much memory."""

    device: int | None
    gpus: int
    memory_bytes: int


class Starter:
    """Starts replicas. Everything it writes is the same each time, so that it may be done again after a crash.

    `on_cluster` says that `server` is a program that makes its own replicas on a cluster.
    """

    def __init__(
        self,
        home: Home,
        config: Config,
        executor: Executor,
        secrets: Secrets,
        server: tuple[str, ...] = SERVER,
        *,
        on_cluster: bool = False,
    ) -> None:
        self._home, self._config, self._executor = home, config, executor
        self._secrets, self._server, self._on_cluster = secrets, server, on_cluster

    def start(
        self, attempt: Attempt, replica_id: str, name: str, spec: RevisionSpec, source: Frozen, room: Room
    ) -> None:
        """Begin the attempt: a process that serves `source` as `spec` says, under `name`.

        Raises:
            StorageError: the home has no room. ModelError: the source is not what it was.
        """
        source.verify(f"this revision of the service {name!r}")
        folder = self._home.services / attempt.job
        inside = folder_of(self._home, attempt)
        token = self._secrets.replica_token(replica_id, attempt.number)
        values = _values(name, spec, source) | {
            "token_files": [str(inside / "token")],
            "ready_file": str(inside / "ready.json"),
            "drain_seconds": self._config.service_stop_seconds,
            "cache_gb": self._config.engine_cache_gb,
        }
        if self._on_cluster:
            values |= self._cluster_values(attempt, replica_id, spec, room)
        try:
            inside.mkdir(parents=True, exist_ok=True)
            _write_secret(inside / "token", token)
            atomic.write_text(inside / "spec.json", json.dumps(values, indent=1, ensure_ascii=False) + "\n")
        except OSError as error:
            raise StorageError(
                f"The replica {replica_id} cannot be made ready: {error.strerror or error}.", "Make room on the disk."
            ) from None
        launch = Launch(command=(*self._server, str(inside / "spec.json")), folder=folder, device=room.device)
        if self._on_cluster:  # its replicas reserve what they take; the program before them computes nothing
            launch = replace(launch, device=None, cpus=0.0, memory_bytes=_PROGRAM_BYTES)
        self._executor.submit(attempt, launch)

    def _cluster_values(self, attempt: Attempt, replica_id: str, spec: RevisionSpec, room: Room) -> dict[str, Any]:
        """What the program on a cluster is told besides. Where there are GPUs, `memory_bytes` is theirs."""
        values: dict[str, Any] = {
            "application": f"quickalign-{replica_id}-{attempt.number}",
            "gpus": room.gpus,
            "memory_bytes": 0 if room.gpus else room.memory_bytes,
            "share_base": False,
            "wait_seconds": max(1.0, self._config.service_wait_seconds),
        }
        if spec.autoscaling is not None:
            values["autoscaling"] = spec.autoscaling.model_dump()
        return values


def folder_of(home: Home, attempt: Attempt) -> Path:
    """Where one start of a replica has its files."""
    return home.services / attempt.job / "attempts" / str(attempt.number)


def _values(name: str, spec: RevisionSpec, source: Frozen) -> dict[str, Any]:
    values: dict[str, Any] = {"model": source.model, "name": name}
    values |= {field: getattr(spec, field) for field in _PASSED_ON if getattr(spec, field) is not None}
    if source.model_revision is not None:
        values["revision"] = source.model_revision
    if source.adapter is not None:
        values["adapter"] = source.adapter
    if spec.weights != "auto":
        values["weights"] = spec.weights
    return values


def _write_secret(path: Path, text: str) -> None:
    """Write a file that is never readable by others, not even for a moment."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text + "\n")
