"""The server about itself."""

from functools import cache
from importlib import metadata

from quickalign import __version__
from quickalign.core.wire.system import DeviceInfo, SharedBase, SystemInfo
from quickalign.platform.db.engine import Database
from quickalign.platform.devices import Device
from quickalign.platform.home import Home
from quickalign.platform.jobs.service import Jobs
from quickalign.platform.queue.view import Queue, current_loads

_PACKAGES = ("torch", "transformers", "peft", "accelerate", "bitsandbytes", "pydantic", "sqlalchemy")


class System:
    """Answers what runs here, on what, and who waits."""

    def __init__(
        self,
        home: Home,
        database: Database,
        devices: tuple[Device, ...],
        queue: Queue,
        jobs: Jobs,
        started_at: float,
    ) -> None:
        self._home, self._database, self._devices = home, database, devices
        self._queue, self._jobs, self._started_at = queue, jobs, started_at

    def info(self, queue_limit: int | None = None) -> SystemInfo:
        """Versions, devices, queue (all of it, or its first entries) and the number of jobs by state."""
        with self._database.read() as session:
            found = current_loads(session, self._devices)
            queue = self._queue.view(session).entries(queue_limit)
        devices = tuple(
            DeviceInfo(
                name=load.device.name,
                kind=load.device.kind,
                index=load.device.index,
                total_bytes=load.device.total_bytes,
                reserved_bytes=load.memory_bytes,
                jobs=tuple(load.jobs),
                services=tuple(load.services),
                bases=tuple(
                    SharedBase(
                        name=base.shared.base, memory_bytes=base.shared.memory_bytes, services=tuple(base.services)
                    )
                    for base in load.bases.values()
                ),
            )
            for load in found
        )
        return SystemInfo(
            version=__version__,
            versions=versions(),
            started_at=self._started_at,
            database=self._database.kind,
            home=str(self._home.root),
            devices=devices,
            queue=queue,
            jobs=self._jobs.count(),
        )


@cache
def versions() -> dict[str, str]:
    """The versions of the packages that matter, as far as they are installed; looked up once."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
