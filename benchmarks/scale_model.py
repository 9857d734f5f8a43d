"""How quickalign grows: measured costs, what they come to at a size, and what is exhausted first.

    python -m benchmarks.scale_model [--database-url URL] [--gpus 1000] [--jobs-a-day 100000] [--services 10000]

Measures in a few minutes what a job, a service, a transaction and an answer cost on this machine, reckons what the
target needs of each part, and plays a day of the queue with those costs. Prints tables and writes benchmarks/results/.
Nothing here trains or serves: how fast GPUs are is not its subject. With --from FILE it reckons anew with what an
earlier run has measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.scale import control, database, gateway, model
from benchmarks.scale.model import Part, Target
from benchmarks.scale.simulate import Costs, day

RESULTS = Path(__file__).parent / "results"
JOBS, SERVICES, WAITING, DEVICES = 150, 150, 300, 300
SECONDS = 5.0
OFFERED = 0.9
SIZES = ((10, 1_000), (100, 10_000), (300, 30_000), (1000, 100_000), (3000, 300_000))
"""GPUs and jobs a day of the simulated days."""


def measure(url: str | None) -> dict[str, Any]:
    """All costs, one after the other. The tables are SQLite's, so that a database's server is not counted with ours."""
    with tempfile.TemporaryDirectory(prefix="quickalign-scale-") as name:
        folder = Path(name)
        found: dict[str, Any] = {
            "jobs": control.jobs(folder / "jobs", None, JOBS),
            "services": control.services(folder / "services", None, SERVICES),
            "queue": control.queue(WAITING, DEVICES),
            "bytes_a_job": round((folder / "jobs" / "quickalign.db").stat().st_size / JOBS),
        }
        found["databases"] = {"SQLite": database.measure(folder / "sqlite", None, SECONDS)}
        if url:
            found["databases"]["PostgreSQL"] = database.measure(folder / "postgresql", url, SECONDS)
        found["gateway"] = gateway.measure()
    return found


def simulated(measured: dict[str, Any], target: Target) -> list[dict[str, Any]]:
    """A day of each size, without services and, at the target's size, with its services in the same process.

    Rounds take the processor time that was measured: what they wait for the disk comes on top, and is the database's.
    """
    jobs = measured["jobs"]
    started = jobs["started_and_ended"]["cpu_ms"] / 1000
    alone = Costs(jobs["a_round_with_news"]["cpu_ms"] / 1000, started / 2, started / 2)
    beside = replace(alone, share=0.5)
    rows = [{"gpus": gpus, "beside": "nothing"} | asdict(day(number, gpus, OFFERED, alone)) for gpus, number in SIZES]
    busy = {"gpus": target.gpus, "beside": "a loop of services that is never done"}
    return [*rows, busy | asdict(day(target.jobs_a_day, target.gpus, OFFERED, beside))]


def reckon(measured: dict[str, Any], target: Target) -> dict[str, Any]:
    """What follows from the costs."""
    found = model.parts(measured, target)
    return {
        "target": asdict(target),
        "parts": [asdict(part) | {"load": round(part.load, 3)} for part in found],
        "first": found[0].name,
        "holds_to": model.holds_to(measured, target),
        "storage_gb_a_day": model.storage(measured, target),
        "training": model.training(target),
        "days": simulated(measured, target),
    }


def show(measured: dict[str, Any], found: dict[str, Any], target: Target) -> None:
    """Print the tables."""
    print(
        f"\n{target.gpus} GPUs, {target.jobs_a_day} jobs a day, {target.services} services, {target.servers} servers\n"
    )
    for part in model.parts(measured, target):
        print(_line(part))
    print(f"\nExhausted first: {found['first']}.\n")
    print(f"{'GPUs':>6}{'jobs':>9}{'used':>8}{'lost':>9}{'wait p50':>10}{'p99':>8}{'round p50':>11}{'max':>8}  beside")
    for row in found["days"]:
        print(
            f"{row['gpus']:>6}{row['jobs']:>9}{row['used']:>8.3f}{row['lost']:>9.5f}{row['wait_p50']:>10.2f}"
            f"{row['wait_p99']:>8.1f}{row['round_p50']:>11.3f}{row['round_max']:>8.2f}  {row['beside']}"
        )
    for name in ("holds_to", "storage_gb_a_day", "training"):
        print(f"\n{name}: {found[name]}")


def _line(part: Part) -> str:
    return f"{part.name:34}{part.needed:>10.1f} of{part.available:>9.1f} {part.unit:5}{part.load:>9.2f}  {part.remedy}"


def main() -> None:
    """Measure, reckon, print, and write down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--database-url", help="a PostgreSQL database, measured beside SQLite")
    parser.add_argument("--from", dest="earlier", type=Path, help="results of an earlier run, in place of measuring")
    for name in ("gpus", "jobs_a_day", "services", "servers"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(Target(), name))
    asked = parser.parse_args()
    target = Target(gpus=asked.gpus, jobs_a_day=asked.jobs_a_day, services=asked.services, servers=asked.servers)
    if asked.earlier:
        known = json.loads(asked.earlier.read_text())
        machine, measured = known["machine"], known["measured"]
    else:
        machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
        machine += f"; load before {os.getloadavg()[0]:.1f}"
        measured = measure(asked.database_url)
    found = reckon(measured, target)
    show(measured, found, target)
    file = RESULTS / f"scale-{datetime.now(UTC):%Y-%m-%dT%H%M}.json"
    file.write_text(json.dumps({"machine": machine, "measured": measured} | found, indent=1) + "\n")
    print(f"\nWritten to {file}")


if __name__ == "__main__":
    main()
