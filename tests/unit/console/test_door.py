import html

import pytest

from tests.unit.console.conftest import BASE

PAGES = ["/", "/start", "/models", "/train", "/jobs", "/compare", "/datasets", "/services", "/chat", "/settings"]


def test_strangers_are_sent_to_sign_in(stranger):
    for path in [*PAGES, "/models/qwen2-tiny-instruct", "/jobs/job-x", "/settings/diagnostics.zip"]:
        answer = stranger.get(f"/console{path}")
        assert answer.status_code == 303, path
        assert answer.headers["location"].startswith("/console/signin?next=/console"), path


def test_scripts_of_strangers_are_refused(stranger):
    assert stranger.get("/console/jobs/x/news", headers={"Accept": "application/json"}).status_code == 401
    assert stranger.post("/console/files?filename=a.json", content=b"[]").status_code == 401
    assert stranger.get("/console/jobs", headers={"HX-Request": "true"}).headers["hx-redirect"] == "/console/signin"


@pytest.mark.parametrize("address", ["/console/jobs?state=failed&text=a", "/elsewhere", ""])
def test_whoever_was_signed_out_comes_back_to_their_page(stranger, token, address):
    """Whether a part of the page asked, or a form was sent."""
    polled = {"HX-Request": "true", "HX-Current-URL": BASE + address}
    where = stranger.get("/console/jobs", headers=polled).headers["hx-redirect"]
    sent = stranger.post("/console/settings/tokens", data={"name": "x"}, headers={"Referer": BASE + address})
    assert (sent.status_code, sent.headers["location"]) == (303, where)
    expected = address if address.startswith("/console/") else "/console/"
    assert f'name="next" value="{html.escape(expected)}"' in stranger.get(where).text
    wrong = stranger.post("/console/signin", data={"token": "qa-wrong", "next": expected}).headers["location"]
    assert f'name="next" value="{html.escape(expected)}"' in stranger.get(wrong).text


@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}, {"Accept": "application/json"}])
def test_whoever_was_signed_out_is_told_that_nothing_was_changed(stranger, headers):
    """Once, and only where a change was asked for."""
    said = "You were signed out; nothing was changed."
    stranger.get("/console/jobs", headers=headers)
    assert said not in stranger.get("/console/signin").text
    stranger.post("/console/settings/tokens", data={"name": "x"}, headers=headers)
    assert said in stranger.get("/console/signin").text
    assert said not in stranger.get("/console/signin").text
    stranger.post("/console/settings/tokens", data={"name": "x"}, headers={"Accept-Language": "zh"} | headers)
    assert "您已退出登录，没有做任何更改。" in stranger.get("/console/signin").text


def test_the_api_takes_no_cookie(browser):
    assert browser.get("/api/v1/jobs").status_code == 401


def test_the_front_leads_to_the_console(stranger):
    for path in ("/", "/console"):
        assert stranger.get(path).headers["location"] == "/console/"


def test_signing_in_sets_a_cookie_that_scripts_cannot_read(stranger, token):
    answer = stranger.post("/console/signin", data={"token": token, "next": "/console/jobs?state=failed"})
    assert answer.headers["location"] == "/console/jobs?state=failed"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Path=/console" in cookie
    assert cookie.startswith("quickalign_session_8421=")


def test_a_wrong_token_is_told(stranger):
    answer = stranger.post("/console/signin", data={"token": "qa-wrong"})
    assert "quickalign_session_8421" not in answer.headers["set-cookie"]
    assert "not one of this server" in stranger.get(answer.headers["location"]).text


def test_no_address_leads_away(stranger, token):
    for target in ["https://evil.example/", "//evil.example", "/console/\\evil", "/console/\n", "javascript:1"]:
        answer = stranger.post("/console/signin", data={"token": token, "next": target})
        assert answer.headers["location"] == "/console/", target


def test_foreign_pages_cannot_sign_in(stranger, token):
    answer = stranger.post("/console/signin", data={"token": token}, headers={"Origin": "http://evil.example"})
    assert answer.status_code == 403


def test_signing_out(browser, change):
    assert change("/signout").headers["location"] == "/console/signin"
    assert browser.get("/console/jobs").status_code == 303


def test_a_revoked_token_ends_its_sessions(browser, platform):
    platform.tokens.revoke(platform.tokens.list()[0].id)
    assert browser.get("/console/jobs").status_code == 303


CHANGES = [
    "/signout", "/train", "/train/estimate", "/train/code", "/files?filename=a", "/datasets/x/delete", "/jobs/x/pause",
    "/jobs/x/resume", "/jobs/x/cancel", "/jobs/x/delete", "/start/train", "/settings/tokens",
    "/settings/tokens/x/revoke", "/services", "/services/x/update", "/services/x/scale", "/services/x/token",
    "/services/x/token/rotate", "/services/x/start", "/services/x/stop", "/services/x/rollback", "/services/x/delete",
    "/votes", "/votes/dataset", "/models/x/notebook", "/chat/said",
    "/jobs/x/evaluate", "/jobs/x/evaluate/code", "/jobs/x/export", "/jobs/x/export/code",
]  # fmt: skip


@pytest.mark.parametrize("mark", [None, "wrong"])
def test_every_change_needs_the_mark_of_the_session(browser, platform, mark):
    for path in CHANGES:
        fields = {"csrf": mark} if mark else {}
        answer = browser.post(f"/console{path}", data=fields, headers={"Accept": "application/json"})
        assert "does not come from a page of this session" in answer.text, path
    assert len(platform.tokens.list()) == 1
    assert not platform.jobs.list().items


def test_every_change_is_in_the_list_above(app):
    mounted = next(route.app for route in app.routes if getattr(route, "path", "") == "/console")
    posts = {route.path for route in mounted.routes if "POST" in (getattr(route, "methods", None) or ())}
    known = {path.partition("?")[0].replace("/x", "/{}") for path in CHANGES} | {"/signin", "/preferences"}
    import re

    assert {re.sub(r"\{\w+\}", "{}", path) for path in posts} == known


def test_pages_allow_nothing_but_their_own_server(browser):
    for path in PAGES[1:]:
        answer = browser.get(f"/console{path}")
        assert answer.status_code == 200, path
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        for inline in (" style=", " onclick=", "<script>"):
            assert inline not in answer.text, path
        for address in ("http://", "https://"):
            outside = [address + part.split('"')[0] for part in answer.text.split(f'="{address}')[1:]]
            assert not [place for place in outside if not place.startswith(BASE)], path


def test_languages(browser, stranger):
    assert "Sign in" in stranger.get("/console/signin").text
    chinese = stranger.get("/console/signin", headers={"Accept-Language": "fr;q=0.5, zh-CN;q=0.4, en;q=0.1"}).text
    assert "登录" in chinese
    assert 'lang="zh-Hans"' in chinese
    answer = browser.post("/console/preferences", data={"language": "zh", "back": "/console/jobs"})
    assert answer.headers["location"] == "/console/jobs"
    assert "任务" in browser.get("/console/jobs").text
    browser.post("/console/preferences", data={"theme": "dark", "language": "xx"})
    assert 'data-theme="dark"' in browser.get("/console/jobs").text


def test_pages_that_are_not_there(browser, stranger):
    assert browser.get("/console/nothing").status_code == 404
    assert "There is no such page" in browser.get("/console/nothing").text
    assert stranger.get("/console/static/x/../../app.py").status_code == 404
    assert browser.get("/console/jobs/job-none").status_code == 404
    assert "There is no job" in browser.get("/console/jobs/job-none").text
