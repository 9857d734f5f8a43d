"""The whole mission in a browser, on the embedded model and the real trainer: in English and in Chinese."""

import re

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PATIENCE_MS, violations, write_pairs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
NASTY = "<img src=x onerror=alert(1)><script>alert(2)</script>"
WORDS = {
    "en": {
        "bad": "found", "start": "Start training", "done": "succeeded", "log": "Log", "both": "Before and after",
        "after": "After", "deploy": "Deploy", "running": "running", "send": "Send", "kept": "The vote is kept.",
        "train_votes": "Train on the votes", "delete": "Delete", "deleted": "deleted", "gone": "each found gone",
        "fits": "It fits.", "pair": "A better answer",
    },
    "zh": {
        "bad": "found", "start": "开始训练", "done": "成功", "log": "日志", "both": "训练前后", "after": "训练后", "deploy": "部署",
        "running": "运行中", "send": "发送", "kept": "投票已保存。", "train_votes": "用投票训练", "delete": "删除", "deleted": "已删除",
        "gone": "均已核实", "fits": "放得下。", "pair": "更好的回答",
    },
}  # fmt: skip


def pairs(count=24):
    nasty = {"prompt": NASTY, "chosen": NASTY, "rejected": "no"}
    return [
        nasty,
        *({"prompt": f"How are you {i}?", "chosen": f"I am well {i}.", "rejected": "Go."} for i in range(count)),
    ]


def agree(page, form_button):
    form_button.click()
    page.locator("#ask [data-yes]").click()


def fill_training(page, steps):
    page.fill('[name="option.num_train_epochs"]', "1")
    groups = page.locator("details.group summary")
    for index in range(groups.count()):
        details = groups.nth(index).locator("..")
        if details.get_attribute("open") is None:
            groups.nth(index).click()
    page.fill('[name="option.max_steps"]', str(steps))
    page.fill("#sample_prompts", f"Could you please hurt me?\n{NASTY}")


def deploy(page, words, name):
    page.fill("#name", name)
    page.locator("form[data-keyed] button.primary").click()
    page.wait_for_url(re.compile(rf"/console/services/{name}$"))
    expect(page.locator(".badge.service-running").first).to_have_text(words["running"], timeout=PATIENCE_MS * 2)


def correct_the_data(page, words, tmp_path, language):
    """A bad row is told as soon as the file is there, with its number; then the corrected file is sent.

    The options come first: every change of them beside data is an estimate, which is a program of some seconds.
    """
    fill_training(page, 3)
    bounds_are_checked(page)
    broken = write_pairs(tmp_path / f"broken-{language}.jsonl", [*pairs(), {"prompt": "Only a question"}])
    page.set_input_files("#upload", broken)
    expect(page.locator("[data-report]")).to_have_attribute("data-bad", "1")
    expect(page.locator("#data-report table").first).to_contain_text("26")
    expect(page.locator("#estimate .note.bad")).to_be_visible()
    good = write_pairs(tmp_path / f"pairs-{language}.jsonl", pairs())
    page.set_input_files("#upload", good)
    expect(page.locator("[data-report]")).to_have_attribute("data-bad", "0")
    expect(page.locator("#estimate")).to_contain_text(words["fits"])


def bounds_are_checked(page):
    page.fill('[name="option.learning_rate"]', "7")
    expect(page.locator("#option-learning_rate-wrong")).to_be_visible()
    page.fill('[name="option.learning_rate"]', "0.001")
    expect(page.locator("#option-learning_rate-wrong")).to_be_hidden()


def watch_the_job(page, words):
    """The job, live, and whole after a reload; returns its id."""
    page.wait_for_url(re.compile("/console/jobs/job-"))
    job = page.url.rpartition("/")[2].partition("#")[0]
    expect(page.locator("#job-head .badge").first).to_have_text(words["done"], timeout=PATIENCE_MS * 2)
    expect(page.locator(".plot canvas").first).to_be_visible()
    page.click("#tab-log")
    expect(page.locator("[data-log]")).not_to_be_empty()
    page.click("#tab-samples")
    page.reload()
    expect(page.locator("#panel-samples")).to_be_visible()
    return job


def vote(page, words):
    """Two messages to both services: the first vote is for an answer, the second a better one."""
    page.check("[data-blind]")
    page.locator("[data-chat] details summary").first.click()
    page.fill('[data-sampling="max_tokens"]', "24")
    for message, answers in ((f"Hello {NASTY}", 2), ("And now?", 4)):
        page.fill("[data-message]", message)
        page.click("[data-send]")
        expect(page.locator("[data-votes]")).to_be_visible()
        expect(page.locator(".said.assistant")).to_have_count(answers)
        if answers == 2:
            page.locator("[data-votes] button").first.click()
        else:
            page.locator("[data-votes] button").last.click()
            page.fill("#better", f"A much better answer. {NASTY}")
            page.locator("[data-votes] button.primary").click()
        expect(page.locator("[data-status]")).to_have_text(words["kept"])
    page.reload()


def delete_everything(watched, words, service, job):
    page = watched.page
    watched.open(f"/services/{service}")
    agree(page, page.locator("#service .page-head .button.danger"))
    page.wait_for_url(re.compile("/console/services/service-"))
    expect(page.locator("#service .badge").first).to_have_text(words["deleted"])
    expect(page.locator("#service")).to_contain_text(words["gone"])
    watched.open(f"/jobs/{job}")
    agree(page, page.locator("#job-head .button.danger"))
    page.wait_for_url(re.compile("/console/jobs$"))
    expect(page.locator(".note.good")).to_contain_text(NASTY)


def copy_an_export(watched, job):
    """The export's form as text, as it is filled in by now."""
    page = watched.open(f"/jobs/{job}/export")
    page.click("[data-code] summary")
    text = page.locator("[data-code] pre").nth(1)
    expect(text).to_contain_text(f"quickalign export {job}")
    page.select_option("#compression", "gguf-q8_0")
    expect(text).to_contain_text("--compression gguf-q8_0")
    assert violations(page) == []


@pytest.fixture(scope="module")
def base(server):
    """A service of the model as it was, for both languages; it starts while the first one trains."""
    endpoint, token, _ = server
    body = {"name": "base", "spec": {"source": {"model": "qwen2-tiny-instruct"}}}
    headers = {"Authorization": f"Bearer {token}"}
    httpx.post(f"{endpoint}/api/v1/services", json=body, headers=headers, timeout=120).raise_for_status()
    yield "base"
    httpx.delete(f"{endpoint}/api/v1/services/base", headers=headers, timeout=120).raise_for_status()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_mission(window, tmp_path, base, language):
    words = WORDS[language]
    watched = window(language)
    page = watched.open("/models")
    page.fill("#text", "tiny")
    expect(page.locator("article.tile")).to_have_count(1)
    page.click("article.tile h2 a")
    page.locator(".page-head .button.primary").click()
    correct_the_data(page, words, tmp_path, language)
    page.fill('[id="name"]', f"{NASTY} {language}")
    page.click("#submit")
    job = watch_the_job(page, words)
    expect(page.locator("#job-samples article")).to_have_count(2)
    expect(page.locator("#job-samples")).to_contain_text(NASTY)
    copy_an_export(watched, job)
    watched.open(f"/jobs/{job}")
    page.locator("#job-head").get_by_role("link", name=words["deploy"]).click()
    deploy(page, words, f"aligned-{language}")
    watched.open(f"/services/{base}")
    expect(page.locator(".badge.service-running").first).to_have_text(words["running"], timeout=PATIENCE_MS * 2)
    watched.open(f"/chat?service=aligned-{language}&service={base}")
    vote(page, words)
    page.locator("[data-train-votes]").click()
    page.wait_for_url(re.compile("/console/train"))
    fill_training(page, 1)
    expect(page.locator("[data-report]")).to_have_attribute("data-bad", "0")
    expect(page.locator("#estimate")).to_contain_text(words["fits"])
    page.click("#submit")
    second = watch_the_job(page, words)
    watched.open(f"/compare?job={job}&job={second}")
    expect(page.locator("tr.differs").first).to_be_visible()
    expect(page.locator(".plot canvas").first).to_be_visible()
    delete_everything(watched, words, f"aligned-{language}", job)
