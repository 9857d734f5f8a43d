"""Every page in a browser: nothing that axe-core calls serious in either theme, and nothing wider than a telephone."""

import json

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import violations

pytestmark = pytest.mark.slow
PAGES = (
    "/start", "/models", "/models/qwen2-tiny-instruct", "/train", "/jobs", "/compare", "/datasets", "/services",
    "/services/new", "/chat", "/settings",
)  # fmt: skip
NASTY = "<img src=x onerror=alert(1)>"
LINES = 100_000
WAITED = {"/datasets": ("[data-report]", ".pair"), "/jobs": (".plot canvas",)}
"""What comes after the page itself."""


@pytest.fixture(scope="module")
def furnished(server):
    """A file, and a job that is over and has left a hundred thousand steps and a long log."""
    import httpx

    endpoint, token, home = server
    with httpx.Client(base_url=endpoint, headers={"Authorization": f"Bearer {token}"}, timeout=120) as client:
        row = {"prompt": NASTY, "chosen": NASTY, "rejected": "no"}
        content = "".join(json.dumps(row | {"rejected": f"no {i}"}) + "\n" for i in range(12)).encode()
        file = client.post(
            "/api/v1/files", params={"filename": f"{NASTY}.jsonl".replace("/", "")}, content=content
        ).json()
        options = {"training_strategy": "dpo", "load_in_4bit": False, "max_steps": 1}
        spec = {"model": "qwen2-tiny-instruct", "train": file["id"], "hyperparameters": options}
        name = f"{NASTY} {'一个很长的名字' * 9}"
        made = client.post("/api/v1/jobs", json={"name": name, "spec": spec}).json()["id"]
        client.post(f"/api/v1/jobs/{made}/cancel")
        assert client.get(f"/api/v1/jobs/{made}").json()["state"] in ("cancelled", "cancelling")
    output = home / "jobs" / made / "output"
    output.mkdir(parents=True, exist_ok=True)
    names = ("loss", "rewards_chosen", "rewards_rejected", "rewards_margin", "rewards_accuracy", "grad_norm")
    with (output / "metrics.jsonl").open("w") as stream:
        for step in range(1, LINES + 1):
            stream.write(
                json.dumps({"step": step} | {name: 1 / (step % 97 + place + 1) for place, name in enumerate(names)})
                + "\n"
            )
    log = home / "jobs" / made / "attempts" / "1" / "stdout.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as stream:
        for number in range(40_000):
            stream.write(f"line {number:06d} {NASTY} {'.' * 60}\n")
    return {"job": made, "file": file["id"]}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_page_shuts_anybody_out(window, furnished, dark, language):
    watched = window(language, dark=dark)
    found = {}
    paths = [*PAGES, f"/jobs/{furnished['job']}", f"/datasets/{furnished['file']}", f"/train?data={furnished['file']}"]
    paths.append(f"/compare?job={furnished['job']}")
    for path in paths:
        page = watched.open(path)
        for part in WAITED.get(path.rpartition("/")[0], ()):
            page.wait_for_selector(part)
        if serious := violations(page):
            found[path] = serious
    assert found == {}


def test_no_page_is_wider_than_a_telephone(window, furnished):
    watched = window(width=375)
    wide = {}
    compared = f"/compare?job={furnished['job']}"
    for path in [*PAGES, f"/jobs/{furnished['job']}", f"/datasets/{furnished['file']}", compared]:
        page = watched.open(path)
        if path == compared:
            page.wait_for_selector(".u-legend")
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > 375:
            wide[path] = width
    assert wide == {}
    page = watched.open("/models")
    page.click("[data-menu]")
    page.locator("#menu nav a").nth(3).click()
    page.wait_for_url("**/console/jobs")


def test_a_long_job_is_read_in_pieces(window, furnished):
    watched = window()
    page = watched.open(f"/jobs/{furnished['job']}")
    page.wait_for_selector(".plot canvas")
    assert "100,000" in page.inner_text("[data-points]")
    page.click("#tab-log")
    page.wait_for_selector("[data-log] span")
    assert len(page.inner_text("[data-log]")) < 400_000
    page.fill("[data-log-text]", "line 012345 ")
    page.click("[data-log-next]")
    page.wait_for_selector("[data-log] mark")
    assert page.inner_text("[data-log] mark") == "line 012345 "
    page.fill("[data-log-text]", "not in there")
    page.click("[data-log-next]")
    expect(page.locator("[data-log-place]")).to_contain_text("not in there")
    page.click("#tab-events")
    page.click("#tab-log")
    expect(page.locator("[data-log-place]")).to_contain_text("not in there")


def test_the_keyboard_is_enough(window):
    watched = window()
    page = watched.open("/models")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page = watched.open("/models/qwen2-tiny-instruct")
    page.focus('[role="tab"][aria-selected="true"]')
    page.keyboard.press("ArrowRight")
    assert page.inner_text('[role="tab"][aria-selected="true"]') == "CLI"


def test_an_upload_can_be_cancelled_and_begun_again(window, tmp_path):
    watched = window()
    page = watched.open("/datasets")
    file = tmp_path / "pairs.jsonl"
    file.write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n')
    page.route("**/console/files?**", lambda route: None)
    page.set_input_files("#upload", file)
    page.click("[data-upload-cancel]")
    expect(page.locator("[data-upload-cancel]")).to_be_hidden()
    expect(page.locator("[data-upload-progress]")).to_be_hidden()
    assert page.evaluate("document.getElementById('upload').files.length") == 0, "the same file can be chosen again"
    page.unroute("**/console/files?**")
    page.set_input_files("#upload", file)
    page.wait_for_url("**/console/datasets/file-*")


def test_going_back_shows_whole_pages(window):
    watched = window()
    page = watched.open("/models")
    page.fill("#text", "tiny")
    page.wait_for_url("**text=tiny**")
    page.fill("#text", "llama")
    page.wait_for_url("**text=llama**")
    page.go_back()
    expect(page.locator("#menu")).to_be_visible()
    expect(page.locator("#text")).to_have_value("tiny")
    expect(page.locator("article.tile")).to_have_count(1)


def test_a_list_that_renews_itself_keeps_what_one_does_in_it(window, furnished):
    watched = window()
    page = watched.open("/jobs")
    page.check(f"#pick-{furnished['job']}")
    page.evaluate("window.scrollTo(0, 40)")
    # nothing moves on this server, so the list is told to look again; what comes back tells it to stop
    page.evaluate(
        """() => {
          const rows = document.getElementById("job-rows");
          rows.dataset.old = "";
          for (const [name, value] of Object.entries({
            get: "/console/jobs", trigger: "every 200ms", select: "#job-rows", swap: "outerHTML",
          })) rows.setAttribute(`hx-${name}`, value);
          window.htmx.process(rows);
        }"""
    )
    page.wait_for_selector("#job-rows:not([data-old])")
    assert page.is_checked(f"#pick-{furnished['job']}")
    assert page.evaluate("document.activeElement.id") == f"pick-{furnished['job']}"


@pytest.mark.parametrize("width", [1280, 390])
def test_a_press_that_ends_the_typing_counts(window, width):
    """What is told of the data, once it is named, must not move the button away from under the press."""
    watched = window(width=width)
    page = watched.open("/train")
    page.fill("#train-data", "file-none")
    expect(page.locator("#estimate .note")).to_contain_text("file-none")
    page.locator("#submit").hover()
    page.mouse.down()
    # as a finger does, which stays for a moment
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    page.mouse.up()
    expect(page.locator("#refusal .note")).to_contain_text("file-none")
