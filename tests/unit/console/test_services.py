import json

import pytest
from sqlalchemy import select

from quickalign.console.service_form import spec_of
from quickalign.core.errors import QuickalignError
from quickalign.core.wire.services import Autoscaling, ServiceUpdate, Source
from quickalign.platform.db.service_tables import RevisionRow, ServiceRow
from tests.support.forms import form_fields
from tests.support.platforms import stub_job, write_data

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


def update(platform, **changes):
    """Changes of the base's wanted specification, as a program makes them."""
    service = platform.services.get("base")
    spec = service.revisions[0].spec.model_copy(update=changes)
    return platform.services.update("base", ServiceUpdate(spec=spec))


KEPT = (
    {"precision": "fp32", "max_waiting": 3},
    {"system_prompt": ""},
    {"system_prompt": "\nTwo\nlines. "},
    {"context": 64, "weights": "auto", "max_concurrency": 3},
)


@pytest.mark.parametrize("changes", KEPT, ids=lambda changes: next(iter(changes)))
def test_a_change_keeps_what_nobody_changed(browser, change, platform, service, changes):
    before = update(platform, **changes)
    sent = form_fields(browser.get("/console/services/base/edit").text)
    assert change("/services/base/update", **sent).headers["location"] == "/console/services/base"
    after = platform.services.get("base")
    assert after.revisions == before.revisions, "nothing was changed, so there is no other revision"


def test_a_change_begins_with_what_is_served(browser, change, platform, service, finished):
    folder = platform.jobs.get(finished).model_path
    sources = (
        Source(model="qwen2-tiny-instruct", adapter=folder),
        Source(job=finished, checkpoint=2),
        Source(job=finished),
    )
    for source in sources:
        try:
            update(platform, source=source)
        except QuickalignError:
            with platform._database.write() as session:  # the stub's adapters hold no weights
                session.scalar(select(RevisionRow)).spec = {"source": source.model_dump()}
        sent = form_fields(browser.get("/console/services/base/edit").text)
        assert spec_of(sent).source == source


def test_a_checkpoint_of_a_job_that_did_not_succeed_can_be_deployed(browser, platform, finished, tmp_path):
    job = platform.jobs.create(stub_job(write_data(tmp_path / "d"))).id
    platform.jobs.cancel(job)
    sent = form_fields(browser.get(f"/console/services/new?job={job}&checkpoint=4").text)
    assert (sent["source"], sent["checkpoint"]) == (f"job:{job}", "4"), "and not another job's"


def test_after_a_rollback_the_form_has_what_was_rolled_back_to(browser, platform, service):
    update(platform, max_concurrency=9)
    assert form_fields(browser.get("/console/services/base/edit").text)["max_concurrency"] == "9"
    platform.services.rollback("base") if platform.services.get("base").revision else back_to_first(platform)
    assert form_fields(browser.get("/console/services/base/edit").text)["max_concurrency"] == "4"


def back_to_first(platform):
    with platform._database.write() as session:
        session.scalar(select(ServiceRow)).target = 1


SCALING = {"min_replicas": "0", "max_replicas": "4", "ongoing_requests": "", "quiet_seconds": "60"}


@pytest.fixture
def on_cluster(platform, monkeypatch):
    """A server whose services run on a cluster, as far as its pages and its checks can tell."""
    config = platform.config.model_copy(update={"executor": "ray"})
    monkeypatch.setattr(platform, "config", config)
    monkeypatch.setattr(platform.services, "_on_cluster", True)


def test_replicas_by_the_number_of_requests(browser, change, platform, service, on_cluster):
    assert service.revisions[0].spec.autoscaling is None
    sent = form_fields(browser.get("/console/services/base/edit").text)
    assert [sent[name] for name in SCALING] == ["", "", "", ""]
    change("/services/base/update", **(sent | SCALING))
    expected = Autoscaling(min=0, max=4, quiet_seconds=60)
    assert platform.services.get("base").revisions[0].spec.autoscaling == expected
    assert "0 to 4 replicas" in browser.get("/console/services/base").text
    sent = form_fields(browser.get("/console/services/base/edit").text)
    assert [sent[name] for name in SCALING] == ["0", "4", "8", "60"]
    change("/services/base/update", **(sent | dict.fromkeys(SCALING, "")))
    assert platform.services.get("base").revisions[0].spec.autoscaling is None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"max_replicas": ""}, "needs its upper bound"),
        ({"min_replicas": "5"}, "min is 5 and max is 4"),
        ({"quiet_seconds": "soon"}, "autoscaling.quiet_seconds"),
    ],
)
def test_bounds_of_replicas_that_cannot_be(change, platform, service, on_cluster, given, told):
    sent = {"source": "model:qwen2-tiny-instruct", **SCALING, **given}
    answer = change("/services/base/update", **sent, headers=HTMX).text
    assert told in answer
    assert "请" in change("/services/base/update", **sent, headers=HTMX | {"Accept-Language": "zh"}).text
    assert len(platform.services.get("base").revisions) == 1


@pytest.mark.parametrize("path", ["/services/x/scale", "/train"])
def test_a_number_beyond_all_bounds_is_told(change, path):
    """Python refuses to read one of so many digits."""
    told = change(path, model="m", train="t", priority="9" * 5000, replicas="9" * 5000, headers={"HX-Request": "true"})
    assert told.status_code == 200
    assert "exceeded maximum size" in told.text


def test_on_one_machine_replicas_do_not_scale(browser, change, platform):
    assert "max_replicas" not in browser.get("/console/services/new").text
    sent = {"name": "ok", "source": "model:qwen2-tiny-instruct", **SCALING}
    assert "autoscaling is not possible" in change("/services", **sent, headers=HTMX).text


WRONG = (
    {"name": "ok", "source": "model:qwen2-tiny-instruct", "replicas": "0"},
    {"name": "ok", "source": "model:qwen2-tiny-instruct", "checkpoint": "3"},
    {"name": "ok", "source": "model:qwen2-tiny-instruct", "adapter": "/somewhere"},
    {"name": "ok", "source": "job:job-none", "model": "qwen2-tiny-instruct"},
    {"name": "ok"},
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
