"""Which waiting jobs may start now. Jobs of one kind of device keep their order; kinds do not wait for each other."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from quickalign.core.wire.jobs import Reason
from quickalign.platform.devices import Device


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job in the queue."""

    id: str
    gpus: int
    memory_bytes: int
    retry_at: float | None = None


@dataclass(frozen=True, slots=True)
class Shared:
    """A base that several replicas on one device have in memory once. `key` is equal for those that share it."""

    key: str
    base: str
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Taken:
    """A job, or a replica of the service `id`, on a device; `device` is the GPU's index, None for the CPU.

    `shared` is what of the replica's memory is a base that others on the device share; `revision` is which it is of.
    """

    id: str
    device: int | None
    memory_bytes: int
    shared: Shared | None = None
    revision: int | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A job that may start, and where."""

    id: str
    device: int | None


@dataclass(slots=True)
class Base:
    """A shared base on a device, and the services that use it there."""

    shared: Shared
    services: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Load:
    """What is taken of a device. A shared base is counted once, with the first replica on it."""

    device: Device
    jobs: list[str] = field(default_factory=list)
    services: list[str] = field(default_factory=list)
    memory_bytes: int = 0
    bases: dict[str, Base] = field(default_factory=dict)
    revisions: set[tuple[str, int | None]] = field(default_factory=set)

    def has_room(self, memory_bytes: int) -> bool:
        """Whether one more job fits; a job alone on its device always does, as its run checks for itself."""
        if len(self.jobs) >= self.device.slots:
            return False
        return not (self.jobs or self.services) or self.has_memory(memory_bytes)

    def has_memory(self, memory_bytes: int, shared: Shared | None = None) -> bool:
        """Whether that much is free; what a service needs, as it takes no slot. A cluster finds that out by itself."""
        if self.device.largest_bytes is not None:
            return True
        return self.memory_bytes + self.more(memory_bytes, shared) <= self.device.total_bytes

    def more(self, memory_bytes: int, shared: Shared | None) -> int:
        """What a replica takes in addition: without its base, where that is here already."""
        return memory_bytes if shared is None or shared.key not in self.bases else memory_bytes - shared.memory_bytes

    def add(self, job: str, memory_bytes: int) -> None:
        """Count a job."""
        self.jobs.append(job)
        self.memory_bytes += memory_bytes

    def add_replica(self, replica: Taken) -> None:
        """Count a replica of a service."""
        if replica.id not in self.services:
            self.services.append(replica.id)
        self.memory_bytes += self.more(replica.memory_bytes, replica.shared)
        self.revisions.add((replica.id, replica.revision))
        if replica.shared is not None:
            base = self.bases.setdefault(replica.shared.key, Base(replica.shared))
            if replica.id not in base.services:
                base.services.append(replica.id)


def loads(devices: Iterable[Device], taken: Iterable[Taken], replicas: Iterable[Taken] = ()) -> list[Load]:
    """The devices with the jobs and the replicas on them."""
    found = [Load(device) for device in devices]
    by_place = {(load.device.kind, load.device.index): load for load in found}
    for job in taken:
        if load := by_place.get(place_of(job.device)):
            load.add(job.id, job.memory_bytes)
    for replica in replicas:
        if load := by_place.get(place_of(replica.device)):
            load.add_replica(replica)
    return found


def room_for(replica: Taken, kind: Literal["cpu", "cuda"], found: Sequence[Load]) -> Load | None:
    """The device that a replica should go to; None where it has to wait.

    Replicas of one revision spread over devices. Otherwise it goes to its base where that is, else to the emptiest.
    """
    fitting = [one for one in found if one.device.kind == kind and one.has_memory(replica.memory_bytes, replica.shared)]
    key = replica.shared.key if replica.shared else None
    return min(
        fitting,
        key=lambda one: ((replica.id, replica.revision) in one.revisions, key not in one.bases, one.memory_bytes),
        default=None,
    )


def place_of(device: int | None) -> tuple[Literal["cpu", "cuda"], int]:
    """Kind and index of the device that a row's number means: a GPU's index, None for the CPU."""
    return ("cpu", 0) if device is None else ("cuda", device)


def has_free_slot(found: Sequence[Load]) -> bool:
    """Whether any device could take a job."""
    return any(len(load.jobs) < load.device.slots for load in found)


def rests(retry_at: float | None, now: float, longest: float) -> bool:
    """Whether what crashed is to wait still; one that would for more than the `longest` wait saw the clock set back."""
    return retry_at is not None and now < retry_at <= now + longest


def admit(
    queue: Iterable[Waiting], found: list[Load], now: float, longest: float
) -> tuple[list[Place], dict[str, Reason]]:
    """Who starts, and why each of the others waits. `queue` is in order; `found` counts those who start.

    What crashed waits for `longest` seconds at most.
    """
    places: list[Place] = []
    reasons: dict[str, Reason] = {}
    blocked: set[bool] = set()
    told: dict[tuple[bool, int], Reason] = {}
    for job in queue:
        if job.retry_at is not None and rests(job.retry_at, now, longest):
            reasons[job.id] = Reason(
                code="backing_off", message=f"It crashed and starts again in {job.retry_at - now:.0f} seconds."
            )
            continue
        on_gpu = job.gpus > 0
        load = None if on_gpu in blocked else _room(job, found)
        if load is None:
            # from the first that waits on, nothing more of its kind starts, and what the others wait for stays
            blocked.add(on_gpu)
            key = (on_gpu, job.memory_bytes)
            reasons[job.id] = told[key] if key in told else told.setdefault(key, _reason(job, found))
            continue
        load.add(job.id, job.memory_bytes)
        places.append(Place(job.id, load.device.index if on_gpu else None))
    return places, reasons


def _room(job: Waiting, found: list[Load]) -> Load | None:
    kind = "cuda" if job.gpus else "cpu"
    fitting = [load for load in found if load.device.kind == kind and load.has_room(job.memory_bytes)]
    return min(fitting, key=lambda load: (len(load.jobs), load.memory_bytes), default=None)


def _reason(job: Waiting, found: list[Load]) -> Reason:
    kind, code, what = ("cuda", "waiting_for_gpu", "GPU") if job.gpus else ("cpu", "waiting_for_cpu", "CPU")
    mine = [load for load in found if load.device.kind == kind]
    slots, running = sum(load.device.slots for load in mine), sum(len(load.jobs) for load in mine)
    if slots == 0:
        return Reason(code=code, message=f"The operator lets no {what} job start (cpu_jobs=0).")
    if running < slots and job.memory_bytes:
        code = "waiting_for_memory"
        return Reason(code=code, message=f"It needs {job.memory_bytes / 1e9:.1f} GB, and what is free is less.")
    return Reason(code=code, message=f"{running} of {slots} {what} job slots are taken; those before it go first.")
