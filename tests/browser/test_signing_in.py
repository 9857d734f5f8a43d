"""A session that ends while a form is filled in loses nothing of it, sends nothing by itself, and tells nobody else."""

import httpx
import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow
TYPED = {"#model": "qwen2-0.5b", "#option-learning_rate": "0.25", "#option-seed": "7", "#output": "/tmp/there"}


def fill(page):
    page.locator("#option-seed").evaluate("field => field.closest('details').open = true")
    for field, value in TYPED.items():
        page.fill(field, value)
    page.select_option("#option-loss_type", "ipo")


def typed(page):
    return {field: page.input_value(field) for field in TYPED} | {"loss": page.input_value("#option-loss_type")}


def sign_in(page, token):
    page.wait_for_url("**/console/signin**")
    page.fill("#token", token)
    page.press("#token", "Enter")
    page.wait_for_url(lambda url: "signin" not in url)


@pytest.fixture
def page(window):
    watched = window()
    page = watched.open("/train")
    fill(page)
    return page


def test_what_was_typed_is_there_after_signing_in_anew(page, server):
    endpoint, token, _ = server
    page.fill("#train-data", "oss://pai-quickstart-local/huggingface/datasets/safe_rlhf/sampled_train.json")
    before = typed(page)
    page.context.clear_cookies()
    page.click("#submit")
    sign_in(page, token)
    assert page.url == f"{endpoint}/console/train"
    expect(page.locator("#model")).to_have_value(TYPED["#model"])
    assert typed(page) == before
    expect(page.locator("#option-seed")).to_be_visible()
    jobs = httpx.get(f"{endpoint}/api/v1/jobs", headers={"Authorization": f"Bearer {token}"}).json()["items"]
    assert [job for job in jobs if job["model"] == TYPED["#model"]] == [], "nothing was sent again"
    page.reload()
    assert typed(page)["#output"] == "", "a page that is loaded again in the same session is as it was made"


def test_a_page_of_an_earlier_session_keeps_what_was_typed(page, server):
    """Signed out and in again in another tab: the page says to be loaded again, and has everything then."""
    endpoint, token, _ = server
    other = page.context.new_page()
    other.goto(f"{endpoint}/console/settings")
    other.locator("form[action='/console/signout'] button").click()
    sign_in(other, token)
    page.click("#submit")
    expect(page.locator("#refusal .note")).to_contain_text("Reload the page")
    page.reload()
    assert typed(page)["#model"] == TYPED["#model"]
    page.click("#submit")
    expect(page.locator("#refusal .note")).to_contain_text("no training data yet")


def test_what_one_person_typed_is_not_shown_to_another(page, server):
    endpoint = server[0]
    signed_in = page.context.cookies()
    page.goto(f"{endpoint}/console/settings")
    page.fill("#token-name", "somebody else")
    page.locator("form[action='/console/settings/tokens'] button").click()
    theirs = page.inner_text("pre[aria-label=Token]")
    assert page.input_value("#token-name") == ""
    page.goto(f"{endpoint}/console/train")
    fill(page)
    page.context.clear_cookies()
    page.reload()
    sign_in(page, theirs)
    assert page.url == f"{endpoint}/console/train"
    assert typed(page)["#output"] == ""
    page.context.clear_cookies()
    page.context.add_cookies(signed_in)
