"""How many transactions a second a database takes: each changes a job's row and adds an event, as every move does."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from quickalign.core.wire.jobs import JobState
from quickalign.platform import ids
from quickalign.platform.config import Config
from quickalign.platform.db.engine import Database
from quickalign.platform.db.tables import JobRow
from quickalign.platform.home import Home
from quickalign.platform.jobs import moves


def measure(folder: Path, url: str | None, writers: int, seconds: float) -> dict[str, float]:
    """Transactions a second of so many threads, each with a job of its own."""
    home = Home(folder)
    home.make()
    database, config = Database(home, url), Config()
    counts, jobs = [0] * writers, [ids.new("job") for _ in range(writers)]
    try:
        with database.write() as session:
            session.add_all(map(_job, jobs))
        end = time.monotonic() + seconds
        threads = [
            threading.Thread(target=_write, args=(database, config, counts, index, job, end))
            for index, job in enumerate(jobs)
        ]
        before = time.process_time()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        cpu = time.process_time() - before
    finally:
        database.close()
    done = max(sum(counts), 1)
    return {
        "writers": writers,
        "transactions_a_second": round(done / seconds, 1),
        "cpu_ms": round(1000 * cpu / done, 3),
    }


def _write(database: Database, config: Config, counts: list[int], index: int, job: str, end: float) -> None:
    while time.monotonic() < end:
        with database.write() as session:
            row = moves.find(session, job)
            row.progress = {"step": counts[index]}
            moves.append(session, row, "notice", "A step was done.", {}, config, time.time())
        counts[index] += 1


def _job(job_id: str) -> JobRow:
    return JobRow(
        id=job_id, kind="train", name="a job", model="m", state=str(JobState.RUNNING), request={}, gpus=0,
        memory_bytes=0, priority=0, labels={}, max_retries=0, created_at=time.time(),
    )  # fmt: skip
