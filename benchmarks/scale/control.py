"""What the control plane costs, measured on the real one with an executor that does nothing.

Costs are milliseconds of processor time of one core, which depend less on what else the machine does; writes that wait
for the disk or for a database's server are measured by the clock too.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.orm import Session

from benchmarks.scale.instant import Instant
from quickalign.core.wire.jobs import JobCreate, JobState, Reason, TrainRequest
from quickalign.core.wire.services import ServiceState
from quickalign.platform import Platform
from quickalign.platform.config import Config
from quickalign.platform.db.service_tables import ReplicaRow, RevisionRow, ServiceRow
from quickalign.platform.devices import Device
from quickalign.platform.queue.admission import Waiting, admit, loads
from quickalign.platform.services.states import ReplicaState

_ROUNDS = 5
_GIB = 1 << 30


@dataclass
class Spent:
    """Processor time and time by the clock of a block, in milliseconds, and the transactions that wrote in it."""

    cpu_ms: float = 0.0
    clock_ms: float = 0.0
    writes: int = 0

    def each(self, number: int) -> dict[str, float]:
        """The same for one of so many."""
        return {
            "cpu_ms": round(self.cpu_ms / number, 3),
            "clock_ms": round(self.clock_ms / number, 3),
            "writes": round(self.writes / number, 2),
        }


@contextmanager
def spent(platform: Platform) -> Iterator[Spent]:
    """Measure a block."""
    found, engine = Spent(), platform._database.engine

    def committed(connection: Connection) -> None:
        found.writes += bool(connection.get_execution_options().get("writes"))

    event.listen(engine, "commit", committed)
    cpu, clock = time.process_time(), time.perf_counter()
    try:
        yield found
    finally:
        found.cpu_ms, found.clock_ms = 1000 * (time.process_time() - cpu), 1000 * (time.perf_counter() - clock)
        event.remove(engine, "commit", committed)


@contextmanager
def opened(folder: Path, url: str | None, executor: Instant, slots: int) -> Iterator[Platform]:
    """A platform that can run so many jobs at once and starts no process."""
    machine = (Device("cpu", 0, "CPU", 1 << 50, slots),)
    platform = Platform.open(
        folder, database_url=url, config=Config(), executor=executor, replicas=executor, devices=machine,
        probe=lambda endpoint, token: True,
    )  # fmt: skip
    try:
        yield platform
    finally:
        platform.close()


def jobs(folder: Path, url: str | None, number: int) -> dict[str, Any]:
    """What a job costs: to be submitted, to be started and ended, and for each round while it runs."""
    executor = Instant()
    with opened(folder, url, executor, number) as platform:
        rows = folder / "rows.json"
        rows.write_text('[{"prompt": "a", "chosen": "b", "rejected": "c"}]')
        request = JobCreate(spec=TrainRequest(model="qwen2-tiny-instruct", train=str(rows)))
        platform.jobs.create(request)
        with spent(platform) as created:
            made = [platform.jobs.create(request).id for _ in range(number - 1)]
        with spent(platform) as life:
            for _ in range(2):  # started, and seen to run
                platform.reconciler.tick()
        quiet = _best(platform, platform.reconciler.tick)
        busy = _best(platform, platform.reconciler.tick, lambda step: _advance(platform, made, step))
        executor.finish()
        with spent(platform) as ended:
            platform.reconciler.tick()
        assert platform.jobs.count()[JobState.SUCCEEDED] == number
    life.cpu_ms, life.clock_ms, life.writes = (
        life.cpu_ms + ended.cpu_ms, life.clock_ms + ended.clock_ms, life.writes + ended.writes
    )  # fmt: skip
    return {
        "jobs": number,
        "submitted": created.each(number - 1),
        "started_and_ended": life.each(number),
        "a_round_without_news": quiet.each(number),
        "a_round_with_news": busy.each(number - 1),
    }


def _best(
    platform: Platform, round_: Callable[[], object], prepare: Callable[[int], None] = lambda number: None
) -> Spent:
    """The round of several that took the least processor time: the one that was disturbed least."""
    rounds = []
    for number in range(_ROUNDS):
        prepare(number)
        with spent(platform) as one:
            round_()
        rounds.append(one)
    return min(rounds, key=lambda one: one.cpu_ms)


def _advance(platform: Platform, jobs: Sequence[str], step: int) -> None:
    status = json.dumps({"phase": "train", "step": step, "total_steps": 100, "loss": 0.5})
    for job in jobs:
        (platform.home.output(job) / "status.json").write_text(status)


def services(folder: Path, url: str | None, number: int) -> dict[str, Any]:
    """What a service that answers costs: for each round of its loop, and whenever the table of routes is read."""
    with opened(folder, url, Instant(), 1) as platform:
        now = time.time()
        with platform._database.write() as session:
            for index in range(number):
                _add_service(session, index, now)
        platform.service_reconciler.tick()
        rounds = _best(platform, platform.service_reconciler.tick)
        read = _best(platform, platform.services.endpoints.refresh)
        assert len(platform.services.endpoints.all()) == number
    routes, whole = read.each(number), rounds.each(number)
    alone = {name: round(whole[name] - routes[name], 3) for name in whole}
    return {"services": number, "a_round": alone, "a_reading_of_routes": routes}


def _add_service(session: Session, index: int, now: float) -> None:
    name = f"service-{index}"
    row = ServiceRow(
        id=f"id-{name}", name=name, taken_name=name, state=str(ServiceState.RUNNING), version=1, revision=1, target=1,
        wanted_replicas=1, gpus=0, limits={}, idle=False, labels={}, created_at=now, updated_at=now,
    )  # fmt: skip
    session.add(row)
    session.flush()
    session.add(
        RevisionRow(
            service=row.number,
            number=1,
            spec={"source": {"model": "qwen2-tiny-instruct"}},
            proven=True,
            source={"model": "qwen2-tiny-instruct"},
            state="active",
            memory_bytes=0,
            created_at=now,
        )
    )
    session.add(
        ReplicaRow(
            id=f"replica-{index}",
            service=row.number,
            revision=1,
            state=str(ReplicaState.READY),
            gpus=0,
            memory_bytes=0,
            attempt=1,
            lease_token="t",  # noqa: S106
            endpoint="http://127.0.0.1:9",
            ready_at=now,
            created_at=now,
        )
    )


def queue(waiting: int, devices: int) -> dict[str, Any]:
    """What it costs to say of every waiting job where it stands, when no device is free."""
    cards = tuple(Device("cuda", index, "GPU", 80 * _GIB, 1) for index in range(devices))
    full = loads(cards, ())
    for load in full:
        load.add("other", 60 * _GIB)
    lined_up = [Waiting(f"job-{index}", 1, 40 * _GIB) for index in range(waiting)]
    began = time.process_time()
    places, reasons = admit(lined_up, full, 0.0, 300.0)
    took = 1000 * (time.process_time() - began)
    assert not places
    assert isinstance(reasons["job-0"], Reason)
    return {"waiting": waiting, "devices": devices, "cpu_ms": round(took, 2)}
