"""The chat page in a browser: token, stream, stop, trouble; nothing from elsewhere, nothing the browser complains of."""

import shutil

import pytest

from quickalign.api.app import make_app
from tests.support.gateways import FakeEndpoints, running, stub_replicas, wait_for
from tests.support.platforms import open_stub

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")]


@pytest.fixture(scope="module")
def stub():
    with stub_replicas(1) as (started,):
        yield started


@pytest.fixture(scope="module")
def address(tmp_path_factory, stub):
    endpoints = FakeEndpoints()
    endpoints.add("one", stub.upstream)
    platform = open_stub(tmp_path_factory.mktemp("page") / "home")
    with running(make_app(platform, endpoints=endpoints)) as found:
        yield found
    platform.close()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser, address):
    opened = browser.new_page(viewport={"width": 375, "height": 700})
    elsewhere, complaints = [], []
    opened.on("request", lambda request: None if request.url.startswith(address) else elsewhere.append(request.url))
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto(f"{address}/services/one")
    yield opened
    opened.close()
    assert elsewhere == []
    assert [text for text in complaints if "401" not in text] == []


def enter(page, token="qs-one"):
    page.fill("#token", token)
    page.click("#entry button")


def say(page, text):
    page.fill("#input", text)
    page.press("#input", "Enter")


def test_a_conversation(page, stub):
    enter(page, "wrong")
    page.wait_for_selector("#entry-error:not([hidden])")
    enter(page)
    page.wait_for_selector("#composer:not([hidden])")
    say(page, "say 3")
    page.wait_for_selector(".assistant .meta")
    assert page.inner_text(".assistant .text") == "xxx"
    stub.override = "hang 2"
    say(page, "<b id=bold>again</b>")
    page.wait_for_selector(".writing")
    page.click("#stop")
    page.wait_for_selector("text=stopped")
    wait_for(lambda: stub.left == [stub.name])
    stub.override = "die 1"
    say(page, "once more")
    page.wait_for_selector(".assistant .problem")
    assert "gone" in page.inner_text(".assistant .problem")
    assert page.query_selector("#bold") is None
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    stub.override = None
    page.reload()
    page.wait_for_selector("#composer:not([hidden])")
    page.click("#settings-toggle")
    page.click("#forget")
    page.reload()
    page.wait_for_selector("#entry:not([hidden])")
