"""A job with a hundred thousand steps and a log of 200 MB, as a run would have left it; and one that goes on."""

from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path
from types import TracebackType

from benchmarks.control_plane import Running

LINES, LOG_BYTES = 100_000, 200 << 20
CURVES = (
    "loss", "rewards_chosen", "rewards_rejected", "rewards_margin", "rewards_accuracy", "logps_chosen",
    "logps_rejected", "grad_norm", "learning_rate", "tokens_per_second", "pairs_per_second", "peak_memory_bytes",
)  # fmt: skip
_STEP_SECONDS = 0.5


def metrics_line(step: int) -> str:
    """A line of metrics.jsonl with all that a run measures."""
    values = {name: 1 / (step % 97 + place + 1) for place, name in enumerate(CURVES)}
    return json.dumps({"step": step} | values) + "\n"


def log_line(step: int) -> bytes:
    """A line of a hundred bytes or so of a run's log."""
    return f"step {step:6}/{LINES}  loss 0.6931  ".encode() + b"." * 71 + b"\n"


def long_job(running: Running, place: int) -> str:
    """Give the job at that place of the list a long log and many steps; returns its id."""
    listed = running.client.get("/api/v1/jobs", params={"limit": place + 1}).json()["items"]
    job = str(listed[place]["id"])
    output, attempt = _folders(running.home, job)
    for folder in (output, attempt):
        folder.mkdir(parents=True, exist_ok=True)
    with (output / "metrics.jsonl").open("w") as stream:
        stream.writelines(metrics_line(step) for step in range(1, LINES + 1))
    block = b"".join(log_line(step) for step in range(1, 1001))
    with (attempt / "stdout.log").open("wb") as log:
        for _ in range(LOG_BYTES // len(block) + 1):
            log.write(block)
    return job


def _folders(home: Path, job: str) -> tuple[Path, Path]:
    folder = home / "jobs" / job
    return folder / "output", folder / "attempts" / "1"


class MovingJob:
    """Writes what a run and its reconciler would write, twice a second: metrics, log, progress in the database."""

    def __init__(self, running: Running, job: str) -> None:
        self._home, self._job = running.home, job
        self._over = threading.Event()
        self._writer = threading.Thread(target=self._go_on)

    def __enter__(self) -> None:
        self._writer.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._writer.join()

    def _go_on(self) -> None:
        output, attempt = _folders(self._home, self._job)
        database = sqlite3.connect(next(self._home.glob("*.db")), timeout=30, isolation_level=None)
        step = LINES
        with (output / "metrics.jsonl").open("a") as metrics, (attempt / "stdout.log").open("ab") as log:
            while not self._over.wait(_STEP_SECONDS):
                step += 1
                metrics.write(metrics_line(step))
                metrics.flush()
                log.write(log_line(step))
                log.flush()
                progress = json.dumps({"phase": "train", "step": step, "total_steps": 2 * LINES, "loss": 1 / step})
                database.execute("UPDATE jobs SET progress = ? WHERE id = ?", (progress, self._job))
        database.close()
