"""What the console costs: first bytes of each page with 1,000 jobs, a long job's page, and fifty open pages.

`python -m benchmarks.console` prints one line a figure and exits with 1 where a bound is not kept.
"""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx

from benchmarks.control_plane import Running, create_jobs, server

PAGES = (
    "/start", "/models", "/models/qwen2-tiny-instruct", "/train", "/jobs", "/compare", "/datasets", "/services",
    "/chat", "/settings",
)  # fmt: skip
JOBS, LINES, LOG_BYTES, OPEN_PAGES = 1_000, 100_000, 200 << 20, 50
PAGE_SECONDS, LONG_SECONDS, CORES = 0.2, 1.0, 0.25
_TIMES, _FOLLOWED_SECONDS, _PAUSE = 7, 30.0, 2.0
_CURVES = ("loss", "rewards_chosen", "rewards_rejected", "rewards_margin", "rewards_accuracy", "grad_norm")


def main() -> int:
    """Measure everything; returns 1 where a bound is not kept."""
    with tempfile.TemporaryDirectory(prefix="quickalign-console-") as folder:
        home = Path(folder)
        with server(home, None, "quickalign.server") as running:
            create_jobs(running, JOBS)
            browser = signed_in(running)
            kept = [within(f"first bytes of {path}", first_bytes(browser, path), PAGE_SECONDS) for path in PAGES]
            job = long_job(running)
            kept.append(within("a long job's page, curves and log", opened(browser, job), LONG_SECONDS))
            kept.append(within(f"cores for {OPEN_PAGES} open job pages", cores(running, browser, job), CORES))
    return int(not all(kept))


def within(name: str, value: float, bound: float) -> bool:
    """Print a figure beside its bound; whether it is kept."""
    print(f"{name:48} {value:8.3f}  (bound {bound})")
    return value <= bound


def signed_in(running: Running) -> httpx.Client:
    """A client with the console's cookie."""
    token = running.headers["Authorization"].removeprefix("Bearer ")
    client = httpx.Client(base_url=f"{running.endpoint}/console", timeout=120)
    assert client.post("/signin", data={"token": token}).status_code == 303
    return client


def first_bytes(browser: httpx.Client, path: str) -> float:
    """Median seconds to a page's answer, once its template is known."""
    spent = []
    for _ in range(_TIMES):
        begun = time.perf_counter()
        browser.get(path).raise_for_status()
        spent.append(time.perf_counter() - begun)
    return statistics.median(spent[1:])


def long_job(running: Running) -> str:
    """A job that is over, with a long log and many steps."""
    job = str(running.client.get("/api/v1/jobs", params={"limit": 1}).json()["items"][0]["id"])
    folder = running.home / "jobs" / job
    output, attempt = folder / "output", folder / "attempts" / "1"
    for place in (output, attempt):
        place.mkdir(parents=True, exist_ok=True)
    with (output / "metrics.jsonl").open("w") as stream:
        for step in range(1, LINES + 1):
            values = {name: 1 / (step % 97 + place + 1) for place, name in enumerate(_CURVES)}
            stream.write(json.dumps({"step": step} | values) + "\n")
    line = b"step 1/100000  loss 0.6931  " + b"." * 71 + b"\n"
    with (attempt / "stdout.log").open("wb") as log:
        for _ in range(LOG_BYTES // len(line) // 1000):
            log.write(line * 1000)
    return job


def opened(browser: httpx.Client, job: str) -> float:
    """Seconds until the page, its curves and the end of its log are there, the first time."""
    begun = time.perf_counter()
    for path in (f"/jobs/{job}", f"/jobs/{job}/series?points=1600", f"/jobs/{job}/log"):
        browser.get(path, headers={"Accept": "application/json"}).raise_for_status()
    return time.perf_counter() - begun


def cores(running: Running, browser: httpx.Client, job: str) -> float:
    """The server's processor time a second while so many pages ask for news."""
    before, begun = running.process.cpu_times(), time.monotonic()
    while time.monotonic() - begun < _FOLLOWED_SECONDS:
        round_begun = time.monotonic()
        for _ in range(OPEN_PAGES):
            browser.get(f"/jobs/{job}/news?event=1", headers={"Accept": "application/json"}).raise_for_status()
        time.sleep(max(0.0, _PAUSE - (time.monotonic() - round_begun)))
    after, spent = running.process.cpu_times(), time.monotonic() - begun
    return (after.user + after.system - before.user - before.system) / spent


if __name__ == "__main__":
    sys.exit(main())
