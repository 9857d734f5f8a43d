"""What jobs run on, found without loading any training library."""

import os
import subprocess
from dataclasses import dataclass
from typing import Literal

import psutil

_QUERY = ("nvidia-smi", "--query-gpu=index,uuid,name,memory.total", "--format=csv,noheader,nounits")
_SECONDS = 15


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU, or this machine's processor with its memory. `slots` is how many jobs it takes at once.

    `largest_bytes` is there where it stands for those of many machines, with `total_bytes` together: what the largest
    of them has. Who fits where is not decided here then.
    """

    kind: Literal["cpu", "cuda"]
    index: int
    name: str
    total_bytes: int
    slots: int
    largest_bytes: int | None = None

    @property
    def most_bytes(self) -> int:
        """What one job can have at most."""
        return self.total_bytes if self.largest_bytes is None else self.largest_bytes


def find_devices(cpu_jobs: int, gpu_jobs: int) -> tuple[Device, ...]:
    """The processor, then the GPUs that `CUDA_VISIBLE_DEVICES` leaves."""
    memory = psutil.virtual_memory().total
    cpu = Device("cpu", 0, f"CPU, {os.cpu_count() or 1} cores", memory, cpu_jobs)
    return (cpu, *(gpu for line in _gpu_lines() if (gpu := _gpu(line, gpu_jobs, memory))))


def visible(device: int | None) -> dict[str, str]:
    """The variables that let a process see the GPU of that index among those found, or none."""
    # nvidia-smi counts by bus, and CUDA by speed unless it is told otherwise.
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "" if device is None else str(device)}


def _gpu_lines() -> list[str]:
    try:
        done = subprocess.run(_QUERY, capture_output=True, timeout=_SECONDS, check=False, text=True)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []


def _gpu(line: str, slots: int, machine_memory: int) -> Device | None:
    """The GPU of a line; one that shares the machine's memory (GB10, Jetson) has no number for its own."""
    parts = [part.strip() for part in line.split(",")]
    if len(parts) != 4 or not parts[0].isdigit() or not _is_visible(*parts[:2]):
        return None
    total = int(parts[3]) << 20 if parts[3].isdigit() else machine_memory
    return Device("cuda", int(parts[0]), parts[2], total, slots)


def _is_visible(index: str, uuid: str) -> bool:
    """Whether `CUDA_VISIBLE_DEVICES` leaves a GPU, which it may name by the beginning of its UUID too."""
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return True
    names = [part.strip() for part in wanted.split(",")]
    return index in names or any(name.startswith("GPU-") and uuid.startswith(name) for name in names)
