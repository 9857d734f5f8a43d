"""Platforms on a temporary home, with the stub trainer, and waiting for what they do."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from quickalign.core.wire.jobs import Job, JobCreate, JobState, TrainRequest
from quickalign.platform.config import Config
from quickalign.platform.context import Platform
from quickalign.platform.devices import Device

STUB = (sys.executable, str(Path(__file__).with_name("stub_trainer.py")))
FAST = Config(retry_seconds=0.05, retry_seconds_max=0.2, start_seconds=30, stop_seconds=20)
GIB = 1 << 30


def cpu(slots: int = 1) -> tuple[Device, ...]:
    return (Device("cpu", 0, "CPU", 64 * GIB, slots),)


def open_stub(home: Path, **options: Any) -> Platform:
    values = {"config": FAST, "devices": cpu(), "trainer": STUB}
    return Platform.open(home, **(values | options))


def write_data(folder: Path, name: str = "rows.json") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text('[{"prompt": "a", "chosen": "b", "rejected": "c"}]')
    return file


def stub_job(data: Path, *, steps: int = 6, trouble: str | None = None, seed: int = 0, **changes: Any) -> JobCreate:
    options = {"training_strategy": "dpo", "load_in_4bit": False, "max_steps": steps, "save_steps": 2, "seed": seed}
    spec = TrainRequest(
        model="qwen2-tiny-instruct",
        train=str(data),
        hyperparameters=options,
        sample_prompts=(trouble,) if trouble else (),
    )
    return JobCreate(spec=spec, **changes)


def drive(platform: Platform, until: Callable[[], bool], seconds: float = 60) -> None:
    """Tick until it is so."""
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "it did not happen in time"
        platform.reconciler.tick()
        time.sleep(0.01)


def drive_to(platform: Platform, job: Job | str, *states: JobState, seconds: float = 60) -> Job:
    job_id = job if isinstance(job, str) else job.id
    end = time.monotonic() + seconds
    while (now := platform.jobs.get(job_id)).state not in states:
        assert time.monotonic() < end, f"{now.state} ({now.reason}), not {states}"
        assert not now.state.is_final, f"{now.state}: {now.reason}"
        platform.reconciler.tick()
        time.sleep(0.01)
    return now


def live_processes(home: Path) -> list[int]:
    """Processes that hold a job's lock in this home."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            links = [str(link.readlink()) for link in (folder / "fd").iterdir()]
        except OSError:
            continue
        if any(link.startswith(f"{home}/jobs/") and link.endswith("/run.lock") for link in links):
            found.append(int(folder.name))
    return found
