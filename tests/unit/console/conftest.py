import json
from contextlib import contextmanager

import pytest
from starlette.testclient import TestClient

from quickalign import server
from quickalign.api.app import make_app
from quickalign.core.wire.jobs import JobState
from tests.support.platforms import drive_to, open_stub, stub_job, write_data

PAIRS = [
    {"prompt": f"Question {i}?", "chosen": f"A good answer {i}.", "rejected": f"No {i}.", "category": "c"}
    for i in range(30)
]
BASE = "http://127.0.0.1:8421"


@pytest.fixture
def platform(tmp_path):
    opened = open_stub(tmp_path / "home")
    yield opened
    opened.close()


@pytest.fixture
def app(platform):
    return make_app(platform, server.parts())


@pytest.fixture
def stranger(app):
    with TestClient(app, base_url=BASE, follow_redirects=False) as opened:
        yield opened


@pytest.fixture
def token(platform):
    return platform.tokens.create("test")


@pytest.fixture
def browser(app, token):
    """Somebody who is signed in, with the mark that changes need."""
    with signed_in(app, token) as opened:
        yield opened


@contextmanager
def signed_in(app, token):
    """Somebody who is signed in to this application."""
    with TestClient(app, base_url=BASE, follow_redirects=False, headers={"Accept-Language": "en"}) as opened:
        answer = opened.post("/console/signin", data={"token": token})
        assert answer.status_code == 303
        page = opened.get("/console/models").text
        opened.csrf = page.partition('name="csrf" content="')[2].partition('"')[0]
        yield opened


@pytest.fixture
def change(browser):
    """Sends a form as a page of the session does."""

    def send(path, **fields):
        headers = fields.pop("headers", {})
        return browser.post(f"/console{path}", data={"csrf": browser.csrf, **fields}, headers=headers)

    return send


@pytest.fixture
def file_id(platform):
    with platform.files.begin("pairs.jsonl") as incoming:
        incoming.write("".join(json.dumps(row) + "\n" for row in PAIRS).encode())
        return incoming.commit().id


@pytest.fixture
def finished(platform, tmp_path):
    job = platform.jobs.create(stub_job(write_data(tmp_path / "data"), name="Polite answers"))
    drive_to(platform, job.id, JobState.SUCCEEDED)
    return job.id
