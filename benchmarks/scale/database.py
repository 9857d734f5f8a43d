"""How many transactions a second a database takes: each changes a job's row and adds an event, as every move does.

The clock goes on while other programs have the processor. The kernel counts how long a process waits for it, so the
rate is told without that as well: what one writer reaches when only the disk keeps it waiting.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from quickalign.core.wire.jobs import JobState
from quickalign.platform import ids
from quickalign.platform.config import Config
from quickalign.platform.db.engine import Database
from quickalign.platform.db.tables import JobRow
from quickalign.platform.home import Home
from quickalign.platform.jobs import moves


def measure(folder: Path, url: str | None, seconds: float) -> dict[str, float]:
    """Transactions a second of one writer: as they were, and without the time in which others had the processor."""
    home = Home(folder)
    home.make()
    database, config, job = Database(home, url), Config(), ids.new("job")
    try:
        with database.write() as session:
            session.add(_job(job))
            watched = [os.getpid(), *_server(session, database.kind)]
        waited, cpu, began = _waited(watched), time.process_time(), time.perf_counter()
        done = 0
        while time.perf_counter() < began + seconds:
            _write(database, config, job, done)
            done += 1
        spent, cpu = time.perf_counter() - began, time.process_time() - cpu
        waited = _waited(watched) - waited
    finally:
        database.close()
    return {
        "transactions_a_second": round(done / spent, 1),
        "undisturbed_a_second": round(done / max(spent - waited, cpu), 1),
        "cpu_ms": round(1000 * cpu / done, 3),
    }


def _server(session: Session, kind: str) -> list[int]:
    """The process that does the database's part, where it is one of this machine."""
    if kind != "postgresql":
        return []
    pid = int(session.execute(select(func.pg_backend_pid())).scalar_one())
    return [pid] if Path(f"/proc/{pid}/schedstat").exists() else []


def _waited(processes: list[int]) -> float:
    """Seconds that the main threads of these processes have waited for a processor."""
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) for pid in processes) / 1e9


def _write(database: Database, config: Config, job: str, step: int) -> None:
    with database.write() as session:
        row = moves.find(session, job)
        row.progress = {"step": step}
        moves.append(session, row, "notice", "A step was done.", {}, config, time.time())


def _job(job_id: str) -> JobRow:
    return JobRow(
        id=job_id, kind="train", name="a job", model="m", state=str(JobState.RUNNING), request={}, gpus=0,
        memory_bytes=0, priority=0, labels={}, max_retries=0, created_at=time.time(),
    )  # fmt: skip
