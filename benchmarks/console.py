"""What the console costs: first paint of each page with 1,000 jobs, a long job's page, and fifty open pages.

    python -m benchmarks.console [--jobs 1000] [--beside TEXT]

Pages are opened in Debian's Chromium. Prints a table and writes benchmarks/results/; exits with 1 where a bound is not
kept. The times are those of a machine with nothing else to do: `--beside` says what else was running.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from benchmarks.console_browser import PAGES, Paint, first_paints, long_job_page
from benchmarks.console_job import LINES, LOG_BYTES, MovingJob, long_job
from benchmarks.control_plane import RESULTS, Running, create_jobs, server

OPEN_PAGES = 50
SERVERS = 5
"""Pages are opened anew on so many servers, one after another: a first visit is one figure each, and they spread."""
PAINT_SECONDS, LONG_SECONDS, STILL_SECONDS, CORES = 0.2, 1.0, 0.2, 0.25
_FOLLOWED_SECONDS, _PAUSE_SECONDS = 30.0, 2.0
_JSON = {"Accept": "application/json"}


def main() -> int:
    """Measure everything; returns 1 where a bound is not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000, help="jobs in the database")
    parser.add_argument("--beside", default="nothing else", help="what else was running, for the record")
    given = parser.parse_args()
    load = os.getloadavg()
    with tempfile.TemporaryDirectory(prefix="quickalign-console-") as folder:
        figures = measured(Path(folder), given.jobs)
    kept = [within(figure) for figure in figures]
    record = {
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version(), "load_before": load},
        "beside": given.beside,
        "jobs": given.jobs,
        "long_job": {"lines": LINES, "log_bytes": LOG_BYTES},
        "figures": figures,
    }
    file = RESULTS / f"console-{datetime.now(UTC):%Y-%m-%dT%H%M}.json"
    file.write_text(json.dumps(record, indent=2) + "\n")
    print(f"written to {file}")
    return int(not all(kept))


def measured(home: Path, jobs: int) -> list[dict[str, Any]]:
    """All figures: what was measured, the value, and its bound or None."""
    with server(home, None, "quickalign.server") as running:
        create_jobs(running, jobs)
        first, second, third = (long_job(running, place) for place in range(3))
    paints: list[list[Paint]] = []
    for _ in range(SERVERS):
        with server(home, None, "quickalign.server") as running:
            paints.append(first_paints(running, PAGES))
    # started again, so that everything about the long job is read for the first time
    with server(home, None, "quickalign.server") as running:
        found = [figure for of_page in zip(*paints, strict=True) for figure in _of_page(of_page)]
        opened = long_job_page(running, first)
        found.append(_figure("a long job's page in the browser: curves drawn", opened.curves, LONG_SECONDS))
        found.append(_figure("a long job's page in the browser: its log shown", opened.log, LONG_SECONDS))
        found.append(_figure("longest time that the page did not react", opened.longest_task, STILL_SECONDS))
        found.append(_figure("a search through the whole log", opened.search, None))
        with signed_in(running) as browser:
            found.append(
                _figure("a long job's page, curves and log, over HTTP", answered(browser, second), LONG_SECONDS)
            )
            found.append(
                _figure(f"cores for {OPEN_PAGES} pages of a job at rest", cores(running, browser, third), CORES)
            )
            with MovingJob(running, second):
                moving = cores(running, browser, second)
            found.append(_figure(f"cores for {OPEN_PAGES} pages of a job that goes on", moving, CORES))
    return found


def _of_page(paints: Sequence[Paint]) -> Iterator[dict[str, Any]]:
    """One page's paints, of every server: the medians, beside the quickest and the slowest visit."""
    path = paints[0].path
    for name, seen in (
        (f"first paint of {path}, the first time", [paint.first for paint in paints]),
        (f"first paint of {path}", [seconds for paint in paints for seconds in paint.later]),
    ):
        spread = [round(min(seen), 4), round(max(seen), 4)]
        yield _figure(name, statistics.median(seen), PAINT_SECONDS) | {"spread": spread}


def _figure(name: str, value: float, bound: float | None) -> dict[str, Any]:
    return {"name": name, "value": round(value, 4), "bound": bound}


def within(figure: dict[str, Any]) -> bool:
    """Print a figure beside its bound; whether it is kept."""
    bound = figure["bound"]
    spread = "  {:.3f} to {:.3f}".format(*figure["spread"]) if "spread" in figure else ""
    print(f"{figure['name']:68} {figure['value']:8.3f}" + ("" if bound is None else f"  (bound {bound})") + spread)
    return bound is None or figure["value"] <= bound


@contextmanager
def signed_in(running: Running) -> Iterator[httpx.Client]:
    """A client with the console's cookie."""
    token = running.headers["Authorization"].removeprefix("Bearer ")
    with httpx.Client(base_url=f"{running.endpoint}/console", timeout=120) as client:
        assert client.post("/signin", data={"token": token}).status_code == 303
        yield client


def answered(browser: httpx.Client, job: str) -> float:
    """Seconds until the page, its curves and the end of its log are there, the first time."""
    begun = time.perf_counter()
    for path in (f"/jobs/{job}", f"/jobs/{job}/series?points=1600", f"/jobs/{job}/log"):
        browser.get(path, headers=_JSON).raise_for_status()
    return time.perf_counter() - begun


def cores(running: Running, browser: httpx.Client, job: str) -> float:
    """The server's processor time a second while so many pages follow a job, each as its script does."""
    pages = [FollowingPage(browser, job) for _ in range(OPEN_PAGES)]
    before, begun = running.process.cpu_times(), time.monotonic()
    while time.monotonic() - begun < _FOLLOWED_SECONDS:
        round_begun = time.monotonic()
        for page in pages:
            page.look()
        time.sleep(max(0.0, _PAUSE_SECONDS - (time.monotonic() - round_begun)))
    after, spent = running.process.cpu_times(), time.monotonic() - begun
    return (after.user + after.system - before.user - before.system) / spent


class FollowingPage:
    """What a job's page asks for while its curves are shown."""

    def __init__(self, browser: httpx.Client, job: str) -> None:
        self._browser, self._address = browser, f"/jobs/{job}"
        self._event, self._seen, self._lines = 0, "", 0

    def look(self) -> None:
        """Ask for news, and for the curves where they have visibly grown."""
        answer = self._get(f"{self._address}/news?event={self._event}&seen={self._seen}")
        if answer.status_code == 204:
            return
        news = answer.json()
        self._event, self._seen = news["event"], news["seen"]
        if (news["lines"] - self._lines) * 400 > news["lines"]:
            self._lines = self._get(f"{self._address}/series?points=1600").json()["total"]

    def _get(self, path: str) -> httpx.Response:
        return self._browser.get(path, headers=_JSON).raise_for_status()


if __name__ == "__main__":
    sys.exit(main())
