"""The control plane under load: 1,000 queued jobs and 200 followers of one log, over HTTP on a server of its own.

    python -m benchmarks.control_plane [--jobs 1000] [--followers 200] [--database-url URL]

Jobs only wait (cpu_jobs=0), so what is measured is the server. Prints a table and writes benchmarks/results/. The times
are those of a machine with nothing else to do: the load before is written down beside them, and the processor time that
the server took for a submission does not depend on it. Exits with 1 where a promise is not kept.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil

RESULTS = Path(__file__).parent / "results"
IDLE_SECONDS = 20.0
FOLLOW_SECONDS = 10.0
LINE_SECONDS = 0.1
CONFIG = "cpu_jobs = 0\n"
ROWS = [{"prompt": f"Question {n}?", "chosen": "A good answer.", "rejected": "No."} for n in range(100)]


@dataclass(frozen=True)
class Running:
    """A server process and a client of it."""

    home: Path
    process: psutil.Process
    client: httpx.Client
    endpoint: str
    headers: dict[str, str]


@contextmanager
def server(home: Path, database_url: str | None, program: str = "quickalign.api") -> Iterator[Running]:
    """Start the server program on `home`, and end it."""
    (home / "config.toml").write_text(CONFIG)
    command = [sys.executable, "-m", program, "--home", str(home), "--port", "0"]
    if database_url:
        command += ["--database-url", database_url]
    with (home / "benchmark-server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        found = _wait_for(home / "server.json", process)
        headers = {"Authorization": f"Bearer {(home / 'token').read_text().strip()}"}
        with httpx.Client(base_url=found["endpoint"], headers=headers, timeout=60) as client:
            _until_ready(client)
            yield Running(home, psutil.Process(process.pid), client, found["endpoint"], headers)
    finally:
        process.terminate()
        process.wait(60)


def _wait_for(file: Path, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    for _ in range(600):
        if file.exists():
            found: dict[str, Any] = json.loads(file.read_text())
            return found
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise SystemExit(f"The server did not start: {(file.parent / 'benchmark-server.log').read_text()}")


def _until_ready(client: httpx.Client) -> None:
    for _ in range(100):
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise SystemExit("The server does not become ready.")


def timed(call: Callable[[], httpx.Response], times: int) -> list[float]:
    """Milliseconds of `times` calls."""
    spent = []
    for _ in range(times):
        began = time.perf_counter()
        call().raise_for_status()
        spent.append(1000 * (time.perf_counter() - began))
    return spent


def summary(spent: list[float]) -> dict[str, float]:
    """Median and high quantiles in milliseconds."""
    ordered = sorted(spent)
    at = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    found = {name: round(ordered[min(int(share * len(ordered)), len(ordered) - 1)], 2) for name, share in at.items()}
    return found | {"max": round(ordered[-1], 2), "mean": round(statistics.fmean(ordered), 2)}


def create_jobs(running: Running, count: int) -> list[float]:
    """Submit jobs one after another, each with labels and an idempotency key."""
    content = json.dumps(ROWS).encode()
    uploaded = running.client.post("/api/v1/files", params={"filename": "rows.json"}, content=content)
    uploaded.raise_for_status()
    options = {"training_strategy": "dpo", "load_in_4bit": False, "max_steps": 10}
    spec = {"model": "qwen2-tiny-instruct", "train": uploaded.json()["id"], "hyperparameters": options}
    numbers = iter(range(count))

    def create() -> httpx.Response:
        number = next(numbers)
        body = {"name": f"job {number}", "spec": spec, "metadata": {"team": f"team-{number % 10}"}}
        return running.client.post("/api/v1/jobs", json=body, headers={"Idempotency-Key": f"benchmark-{number}"})

    return timed(create, count)


def cpu_seconds(running: Running) -> float:
    """Processor time of the server up to now."""
    return float(sum(running.process.cpu_times()[:2]))


def reads(running: Running) -> dict[str, dict[str, float]]:
    """Lists with and without filters, and single jobs."""
    jobs = "/api/v1/jobs"
    asked: dict[str, dict[str, str | int]] = {
        "list 20": {"limit": 20},
        "list 100": {"limit": 100},
        "filter by state": {"state": "queued", "limit": 20},
        "filter by text": {"text": "job 77", "limit": 20},
        "filter, nothing found": {"state": "failed", "limit": 20},
    }
    found = {
        name: summary(timed(lambda asked=parameters: running.client.get(jobs, params=asked), 100))  # type: ignore[misc]
        for name, parameters in asked.items()
    }
    first = running.client.get(jobs, params={"limit": 1}).json()["items"][0]["id"]
    found["get one"] = summary(timed(lambda: running.client.get(f"{jobs}/{first}"), 100))
    found["system"] = summary(timed(lambda: running.client.get("/api/v1/system"), 20))
    return found


def idle_share(running: Running, seconds: float) -> float:
    """Share of one core that the whole server takes while nobody asks anything, in percent."""
    time.sleep(2)
    before, began = cpu_seconds(running), time.perf_counter()
    time.sleep(seconds)
    return 100 * (cpu_seconds(running) - before) / (time.perf_counter() - began)


async def follow(running: Running, job: str, followers: int, seconds: float) -> dict[str, Any]:
    """Let many read one log that grows, and measure how late each line reaches each of them."""
    log = running.home / "jobs" / job / "attempts" / "1" / "stdout.log"
    log.parent.mkdir(parents=True)
    log.touch()
    late: list[float] = []
    lines = int(seconds / LINE_SECONDS)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    before = cpu_seconds(running)
    async with httpx.AsyncClient(
        base_url=running.endpoint, headers=running.headers, timeout=60, limits=limits
    ) as client:
        tasks = [asyncio.create_task(_read(client, job, late, lines)) for _ in range(followers)]
        await asyncio.sleep(3)
        began = time.perf_counter()
        for _ in range(lines):
            with log.open("a") as stream:
                stream.write(f"at {time.time():.6f}\n")
            await asyncio.sleep(LINE_SECONDS)
        counts = await asyncio.gather(*tasks)
    spent = time.perf_counter() - began
    share = 100 * (cpu_seconds(running) - before) / spent
    return {
        "followers": followers,
        "lines": lines,
        "complete": sum(count == lines for count in counts),
        "delay_ms": summary(late),
        "server_cpu_percent": round(share, 1),
    }


async def _read(client: httpx.AsyncClient, job: str, late: list[float], lines: int) -> int:
    seen = 0
    async with client.stream("GET", f"/api/v1/jobs/{job}/logs/stream") as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            arrived = time.time()
            for written in line.split("at ")[1:]:
                late.append(1000 * (arrived - float(written[:17])))
                seen += 1
            if seen >= lines:
                return seen
    return seen


def rows_of(found: dict[str, Any]) -> list[tuple[str, float, str, float | None]]:
    """What was found, its unit, and what it must stay below."""
    followed = found["followers"]
    many = f"{followed['followers']} followers"
    rows: list[tuple[str, float, str, float | None]] = [("submit a job, median", found["create_ms"]["p50"], "ms", 20)]
    rows.append(("submit a job, processor time of the server", found["create_cpu_ms"], "ms", None))
    rows += [(f"{name}, median", values["p50"], "ms", 50) for name, values in found["reads_ms"].items()]
    rows.append(("server at rest, share of a core", found["idle_cpu_percent"], "%", 10))
    rows.append((f"{many}, delay of a line, median", followed["delay_ms"]["p50"], "ms", None))
    rows.append((f"{many}, delay of a line, p99", followed["delay_ms"]["p99"], "ms", None))
    rows.append((f"server with {many}, share of a core", followed["server_cpu_percent"], "%", None))
    return rows


def show(found: dict[str, Any]) -> bool:
    """Print what was found beside what was promised; gives whether all of it is kept."""
    kept: bool = found["followers"]["complete"] == found["followers"]["followers"]
    print(f"\n{found['jobs']} queued jobs, {found['database']}; {found['machine']}; load before {found['load']}\n")
    for name, value, unit, limit in rows_of(found):
        kept = kept and (limit is None or value < limit)
        said = "" if limit is None else f"{'✓' if value < limit else '✗'} < {limit:g}"
        print(f"{name:52}{value:>10.2f} {unit:3}{said}")
    whole = f"{found['followers']['complete']} of {found['followers']['followers']}"
    print(f"{'followers that got every line':52}{whole:>13}")
    return kept


def measure(running: Running, jobs: int, followers: int) -> dict[str, Any]:
    """All figures, in an order in which none disturbs the next."""
    found: dict[str, Any] = {
        "jobs": jobs,
        "database": running.client.get("/api/v1/system").json()["database"],
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "load": round(os.getloadavg()[0], 1),
    }
    before = cpu_seconds(running)
    found["create_ms"] = summary(create_jobs(running, jobs))
    found["create_cpu_ms"] = round(1000 * (cpu_seconds(running) - before) / jobs, 2)
    found["reads_ms"] = reads(running)
    found["idle_cpu_percent"] = round(idle_share(running, IDLE_SECONDS), 2)
    job = running.client.get("/api/v1/jobs", params={"limit": 1}).json()["items"][0]["id"]
    found["followers"] = asyncio.run(follow(running, job, followers, FOLLOW_SECONDS))
    found["server_memory_mb"] = round(running.process.memory_info().rss / 1e6, 1)
    return found


def main() -> None:
    """Measure, print, and write down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--followers", type=int, default=200)
    parser.add_argument("--database-url")
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="quickalign-benchmark-") as folder,
        server(Path(folder), asked.database_url) as running,
    ):
        found = measure(running, asked.jobs, asked.followers)
    kept = show(found)
    file = RESULTS / f"control-plane-{datetime.now(UTC):%Y-%m-%dT%H%M}.json"
    file.write_text(json.dumps(found, indent=1) + "\n")
    print(f"\nWritten to {file}")
    if not kept:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
