"""A real server and a real browser. A test fails on any console error, any request off the machine and any answer that
is an error and was not expected."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from quickalign.sdk import discover
from tests.support.homes import environment, fresh_home

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip
AXE = Path(__file__).parent / "vendor" / "axe.min.js"
PATIENCE_MS = 180_000
"""How long a page may take on a machine that is busy with other tests; nothing waits that long on a quiet one."""


@pytest.fixture(scope="module")
def chromium():
    """Closed behind a module: while Playwright is open, its event loop runs, and tests of other modules need their own."""
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is missing: apt-get install chromium")
        pytest.skip("no chromium on this machine: apt-get install chromium")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The endpoint and the token of a server of its own home."""
    with fresh_home(tmp_path_factory.mktemp("console")) as home:
        command = [sys.executable, "-m", "quickalign.server", "--home", str(home), "--port", "0"]
        with (home / "server.out").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment(home))
        try:
            found = _ready(home, process)
            yield found.endpoint, (home / "token").read_text().strip(), home
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)


def _ready(home, process, seconds=600):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, (home / "server.out").read_text()
        if found := discover.find(home):
            return found
        time.sleep(0.1)
    raise AssertionError((home / "server.out").read_text())


class Watched:
    """A browser's window that notes everything that should not be."""

    def __init__(self, browser, server, language="en", *, dark=False, width=1280):
        self.endpoint, self.token, self.home = server
        self.context = browser.new_context(
            locale={"en": "en-US", "zh": "zh-CN"}[language],
            color_scheme="dark" if dark else "light",
            viewport={"width": width, "height": 860},
            accept_downloads=True,
            # without a graphics card, what moves on a page costs as much as the training beside it
            reduced_motion="reduce",
        )
        self.context.set_default_timeout(PATIENCE_MS)
        self.problems = []
        self.page = self.context.new_page()
        self.context.on("request", self._request)
        self.context.on("requestfailed", self._failed)
        self.context.on("response", self._response)
        self.context.on("console", self._console)
        self.context.on("weberror", lambda error: self.problems.append(f"error: {error.error}"))
        self.page.on("dialog", self._dialog)

    def _request(self, request):
        own = urlsplit(self.endpoint).netloc
        place = urlsplit(request.url)
        if place.scheme not in ("data", "blob") and place.netloc != own:
            self.problems.append(f"request off the machine: {request.url}")

    def _response(self, response):
        if response.status >= 400:
            self.problems.append(f"{response.status} {response.url}")

    def _failed(self, request):
        if "ERR_ABORTED" not in (request.failure or ""):  # which is what leaving a page does to its requests
            self.problems.append(f"{request.failure} {request.url}")

    def _console(self, message):
        # htmx writes these of requests that failed, which `_failed` sees with their reason
        if message.type in ("error", "warning") and not message.text.startswith(
            ("htmx:afterRequest,", "htmx:sendAbort,")
        ):
            self.problems.append(f"console {message.type}: {message.text}")

    def _dialog(self, dialog):
        self.problems.append(f"a script ran: {dialog.message}")
        dialog.dismiss()

    def sign_in(self):
        self.page.goto(f"{self.endpoint}/console/signin")
        self.page.fill("#token", self.token)
        self.page.press("#token", "Enter")
        self.page.wait_for_url(lambda url: "signin" not in url)
        return self

    def open(self, path):
        self.page.goto(f"{self.endpoint}/console{path}")
        return self.page

    def close(self):
        self.context.close()
        assert self.problems == []


@pytest.fixture
def window(chromium, server):
    """Makes windows, and checks them all at the end."""
    opened = []

    def make(language="en", **options):
        opened.append(Watched(chromium, server, language, **options))
        return opened[-1].sign_in()

    yield make
    for one in opened:
        one.close()


def violations(page):
    """What axe-core holds against the page, from `serious` on."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    serious = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    return [(one["id"], [node["html"][:200] for node in one["nodes"]][:4]) for one in serious]


def write_pairs(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path
