import errno

import pytest

from quickalign.api import problems
from quickalign.core import errors


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.NotFoundError("No."), 404, "not-found"),
        (errors.ConflictError("No."), 409, "conflict"),
        (errors.TooLargeError("No."), 413, "too-large"),
        (errors.AccessError("No."), 403, "access"),
        (errors.UnavailableError("No."), 503, "unavailable"),
        (errors.OptionError("No."), 422, "option"),
        (errors.DataError("No."), 422, "data"),
        (errors.ModelError("No."), 422, "model"),
        (errors.CapacityError("No."), 422, "capacity"),
        (errors.StorageError("No."), 503, "storage"),
        (errors.StorageError("No.", field="spec.train"), 422, "storage"),
        (errors.RunError("No."), 422, "run"),
        (errors.Interrupted("No."), 503, "interrupted"),
    ],
)
def test_every_kind_has_a_status(error, status, code):
    found = problems.of_error(error)
    assert (found.status, found.type) == (status, f"urn:quickalign:problem:{code}")


def test_values_are_shortened_and_always_text():
    error = errors.OptionError("No \ud800.", "Do.", field="f", value="x" * 1000)
    found = problems.of_error(error)
    assert len(found.value) < 250
    assert found.model_dump_json()


def test_json_that_is_none(client):
    for body in (b"{", b"[1,", b'{"spec": NaN}', b'{"a": "\\ud800"}', b'{"name": "a\\u0000b"}', b"\xff\xfe"):
        answer = client.post("/api/v1/jobs", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400, body
        assert answer.json()["type"] == "urn:quickalign:problem:bad-request"


def test_an_escaped_backslash_before_u0000_is_fine(client):
    answer = client.post(
        "/api/v1/jobs", content=b'{"name": "a\\\\u0000b"}', headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 422
    assert answer.json()["field"] == "spec"


def test_a_body_that_is_no_json_object(client):
    for body, kind, field in (
        (b"[]", "application/json", "body"),
        (b"null", "application/json", "body"),
        (b"a=1", "application/x-www-form-urlencoded", "Content-Type"),
        (b"{}", "text/x", "Content-Type"),
    ):
        answer = client.post("/api/v1/jobs", content=body, headers={"Content-Type": kind})
        assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_a_body_that_grows_too_large_is_told_like_one_that_is_announced(client):
    for body in (b"x" * (5 << 20), (b"x" * (1 << 20) for _ in range(5))):
        answer = client.post("/api/v1/jobs", content=body, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["type"]) == (413, "urn:quickalign:problem:too-large")


@pytest.mark.parametrize(
    ("method", "address", "name"),
    [
        ("GET", "/api/v1/jobs?status=running", "status"),
        ("GET", "/api/v1/jobs?state[]=running", "state[]"),
        ("POST", "/api/v1/files?filename=a.json&name=b", "name"),
        ("GET", "/api/v1/system?x", "x"),
    ],
)
def test_a_name_in_the_query_that_is_not_known_is_refused(client, method, address, name):
    answer = client.request(method, address, content=b"[1]" if method == "POST" else None)
    assert (answer.status_code, answer.json().get("field")) == (422, name)


def test_a_filter_of_openais_jobs_that_is_not_known_is_refused(client):
    answer = client.get("/v1/fine_tuning/jobs", params={"status": "running"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "status")
    assert client.get("/v1/fine_tuning/jobs", params={"metadata[a]": "b", "limit": 1}).status_code == 200


def test_deeply_nested_json(client):
    answer = client.post(
        "/api/v1/jobs", content=b"[" * 100_000 + b"]" * 100_000, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in (400, 422)


def test_unknown_paths_and_methods(client):
    missing = client.get("/api/v1/nothing")
    assert missing.status_code == 404
    assert missing.headers["content-type"] == "application/problem+json"
    wrong = client.put("/api/v1/jobs")
    assert wrong.status_code == 405
    assert "GET" in wrong.headers["allow"] or "POST" in wrong.headers["allow"]
    asked = client.options("/api/v1/jobs")
    assert (asked.status_code, asked.content) == (204, b"")
    assert asked.headers["allow"]


def test_what_nobody_foresaw_keeps_its_traceback(app, client, platform, monkeypatch, caplog):
    def broken(job_id):
        raise RuntimeError("secret detail")

    monkeypatch.setattr(platform.jobs, "get", broken)
    answer = client.get("/api/v1/jobs/job-a", headers={"X-Request-ID": "mine-1"})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert "mine-1" in answer.json()["remedy"]
    assert answer.headers["x-request-id"] == "mine-1"
    assert "secret detail" in caplog.text
    theirs = client.get("/v1/fine_tuning/jobs/ftjob-a")
    assert theirs.status_code == 500
    assert theirs.json()["error"]["type"] == "server_error"


def test_a_full_disk_is_foreseen_wherever_it_is_met(client, platform, monkeypatch, caplog):
    def full(job_id):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(platform.jobs, "get", full)
    answer = client.get("/api/v1/jobs/job-a")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:quickalign:problem:storage")
    assert "full" in answer.json()["detail"]
    assert "Traceback" not in caplog.text


def test_a_database_that_is_gone(client, platform, monkeypatch):
    def away():
        raise errors.UnavailableError("The database is busy.", "Try again.")

    monkeypatch.setattr(platform, "ping", away)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert client.get("/healthz").status_code == 200
