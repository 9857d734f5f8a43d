import json

import pytest

HTMX = {"HX-Request": "true"}


@pytest.fixture
def service(change, platform):
    answer = change("/services", name="base", source="model:qwen2-tiny-instruct", replicas="1", max_concurrency="4")
    assert answer.headers["location"] == "/console/services/base", answer.text
    return platform.services.get("base")


def test_a_service_from_the_form(browser, service):
    assert service.revisions[0].spec.max_concurrency == 4
    assert "base" in browser.get("/console/services").text
    page = browser.get("/console/services/base").text
    assert "/services/base/v1" in page
    assert "Revision 1" in page


def test_its_token_is_in_no_page_that_is_only_looked_at(browser, change, platform, service):
    own = platform.services.tokens.own("base").token
    assert own not in browser.get("/console/services/base").text
    assert own in change("/services/base/token", headers=HTMX).text
    assert own in change("/services/base/token").json()["token"]
    fresh = change("/services/base/token/rotate", headers=HTMX).text
    assert own not in fresh
    assert platform.services.tokens.own("base").token in fresh


def test_what_can_be_done_with_it(browser, change, platform, service):
    change("/services/base/scale", replicas="2")
    assert platform.services.get("base").wanted_replicas == 2
    change("/services/base/stop")
    assert platform.services.get("base").state in ("stopping", "stopped")
    change("/services/base/start")
    assert platform.services.get("base").state in ("pending", "starting", "stopping")
    where = change("/services/base/delete").headers["location"]
    assert where == f"/console/services/{service.id}"
    assert browser.get(where).status_code == 200


def test_whether_the_base_is_shared_is_asked_and_kept(browser, change, platform, service):
    assert service.revisions[0].spec.share_base is None
    change("/services/base/update", source="model:qwen2-tiny-instruct", share_base="false")
    assert platform.services.get("base").revisions[0].spec.share_base is False
    assert '<option value="false" selected>' in browser.get("/console/services/base/edit").text
    answer = change("/services/base/update", source="model:qwen2-tiny-instruct", share_base="true", headers=HTMX)
    assert "share_base=true is not possible" in answer.text, "no vLLM is installed"


WRONG = (
    {"name": "Not A Name", "source": "model:qwen2-tiny-instruct"},
    {"name": "ok", "source": "model:none"},
    {"name": "ok", "source": "other:"},
    {"name": "ok", "source": "job:job-none"},
    {"name": "ok", "source": "model:qwen2-tiny-instruct", "replicas": "many"},
    {"name": "ok", "source": "model:qwen2-tiny-instruct", "context": "3"},
    {"name": "ok", "source": "model:qwen2-tiny-instruct", "share_base": "perhaps"},
)


def test_what_cannot_be_is_told(change, platform):
    for fields in WRONG:
        answer = change("/services", **fields, headers=HTMX)
        assert 'role="alert"' in answer.text, fields
    assert not platform.services.list().items


VOTE = {
    "messages": [{"role": "user", "content": "Hi"}],
    "left": {"text": "Hello!", "service": "a", "revision": 1, "model": "m"},
    "right": {"text": "What?", "service": "b"},
}


def test_votes_become_a_dataset_to_train_on(browser, change, platform):
    headers = {"X-CSRF-Token": browser.csrf, "Accept": "application/json"}
    for choice in ("left", "right", "tie", "both_bad", "edited"):
        body = VOTE | {"choice": choice} | ({"edited": "Good day!"} if choice == "edited" else {})
        count = browser.post("/console/votes", content=json.dumps(body), headers=headers).json()
    assert count == {"votes": 5, "pairs": 4}
    where = change("/votes/dataset").headers["location"]
    file_id = where.partition("data=")[2]
    rows = [json.loads(line) for line in platform.files.path(file_id).read_bytes().splitlines()]
    assert [row["chosen"][0]["content"] for row in rows] == ["Hello!", "What?", "Good day!", "Good day!"]
    assert rows[0]["origin"]["left"] == {"service": "a", "revision": 1, "model": "m"}
    texts = platform.files.texts(file_id)
    assert texts.format == "messages"
    assert texts.items[1].rejected == "Hello!"


def test_a_vote_that_cannot_be_is_refused(browser, platform):
    headers = {"X-CSRF-Token": browser.csrf, "Accept": "application/json"}
    for body in (VOTE, VOTE | {"choice": "edited"}, VOTE | {"choice": "left", "edited": "x"}, {"choice": "left"}):
        answer = browser.post("/console/votes", content=json.dumps(body), headers=headers).json()
        assert "problem" in answer
    assert platform.votes.count().votes == 0


def test_the_chat_page(browser, service):
    page = browser.get("/console/chat?service=base").text
    assert 'value="base"' in page
    assert "Blind" in page
