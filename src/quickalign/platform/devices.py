"""What jobs run on, found without loading any training library."""

import os
import subprocess
from dataclasses import dataclass
from typing import Literal

import psutil

_QUERY = ("nvidia-smi", "--query-gpu=index,name,memory.total", "--format=csv,noheader,nounits")
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
    cpu = Device("cpu", 0, f"CPU, {os.cpu_count() or 1} cores", psutil.virtual_memory().total, cpu_jobs)
    return (cpu, *(gpu for line in _gpu_lines() if (gpu := _gpu(line, gpu_jobs)) and _is_visible(gpu.index)))


def _gpu_lines() -> list[str]:
    try:
        done = subprocess.run(_QUERY, capture_output=True, timeout=_SECONDS, check=False, text=True)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []


def _gpu(line: str, slots: int) -> Device | None:
    parts = [part.strip() for part in line.split(",")]
    if len(parts) != 3 or not parts[0].isdigit() or not parts[2].isdigit():
        return None
    return Device("cuda", int(parts[0]), parts[1], int(parts[2]) << 20, slots)


def _is_visible(index: int) -> bool:
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return True
    return str(index) in [part.strip() for part in wanted.split(",")]
