"""The console's pages as Chromium sees them: when something is painted, and how long a page does not react."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.control_plane import Running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PAGES = (
    "/start", "/models", "/models/qwen2-tiny-instruct", "/train", "/jobs", "/compare", "/datasets", "/services",
    "/services/new", "/chat", "/settings",
)  # fmt: skip
_ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking")
_TIMES = 5
# What a browser and a server that were just started still have to do is not the page's matter.
_REST_SECONDS = 1.5
_PAINT = """() => new Promise((resolve) => {
  const known = () => performance.getEntriesByName('first-contentful-paint')[0]?.startTime;
  const look = () => (known() === undefined ? setTimeout(look, 5) : resolve(known()));
  look();
})"""
_DRAWN = "document.querySelectorAll('.plot canvas').length >= 8"
_LOG_SHOWN = "document.querySelector('[data-log] span') !== null"
_SEARCHED = "document.querySelector('[data-log-place]').textContent.includes('not in there')"
_TASKS = "window.tasks = []; new PerformanceObserver((list) => tasks.push(...list.getEntries()))" \
    ".observe({type: 'longtask', buffered: true})"  # fmt: skip


@dataclass(frozen=True)
class Paint:
    """Seconds to a page's first paint: on the first visit after a server's start, and on later ones."""

    path: str
    first: float
    later: tuple[float, ...]


@dataclass(frozen=True)
class LongJob:
    """Seconds until a long job's curves and log are shown, and the longest task of the page's only thread."""

    curves: float
    log: float
    longest_task: float
    search: float


def first_paints(running: Running, paths: Sequence[str]) -> list[Paint]:
    """The first paint of each page. The browser knows the stylesheet from signing in, as everybody's does."""
    with _chromium() as browser:
        page = _signed_in(browser, running)
        time.sleep(_REST_SECONDS)
        first = {path: _paint(page, running, path) for path in paths}
        return [Paint(path, first[path], tuple(_paint(page, running, path) for _ in range(_TIMES))) for path in paths]


def long_job_page(running: Running, job: str) -> LongJob:
    """Open a job's page, look around in it, and search its log for what is not in there."""
    with _chromium() as browser:
        page = _signed_in(browser, running)
        page.add_init_script(_TASKS)
        begun = time.perf_counter()
        page.goto(f"{running.endpoint}/console/jobs/{job}", wait_until="commit")
        _until(page, _DRAWN)
        curves = time.perf_counter() - begun
        begun = time.perf_counter()
        page.click("#tab-log")
        _until(page, _LOG_SHOWN)
        log = time.perf_counter() - begun
        page.click("#tab-curves")
        for weight in ("0", "0.9", "0.3"):
            page.fill("[data-smoothing]", weight)
        page.click("#tab-log")
        begun = time.perf_counter()
        page.fill("[data-log-text]", "not in there")
        page.click("[data-log-next]")
        _until(page, _SEARCHED)
        search = time.perf_counter() - begun
        longest = page.evaluate("Math.max(0, ...tasks.map((task) => task.duration))") / 1000
        return LongJob(curves, log, longest, search)


def _until(page: Page, condition: str) -> None:
    """Wait for it, looking with each frame: Playwright's own waiting looks twice a second."""
    look = f"const look = () => {condition} ? seen() : requestAnimationFrame(look)"
    page.evaluate(f"() => new Promise((seen) => {{ {look}; look(); }})")


def _paint(page: Page, running: Running, path: str) -> float:
    page.goto(f"{running.endpoint}/console{path}", wait_until="load")
    return float(page.evaluate(_PAINT)) / 1000


def _signed_in(browser: Browser, running: Running) -> Page:
    page = browser.new_page(viewport={"width": 1280, "height": 860})
    page.goto(f"{running.endpoint}/console/signin")
    page.fill("#token", running.headers["Authorization"].removeprefix("Bearer "))
    page.press("#token", "Enter")
    page.wait_for_url(lambda url: "signin" not in url)
    return page


@contextmanager
def _chromium() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - nobody else here needs it

    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        raise SystemExit("chromium is missing: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(_ARGUMENTS))
        yield browser
        browser.close()
