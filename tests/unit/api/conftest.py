import json

import pytest
from starlette.testclient import TestClient

from quickalign.api.app import make_app
from quickalign.core.wire.jobs import JobState
from tests.support.platforms import FAST, drive_to, open_stub

PAIRS = [{"prompt": f"Question {i}?", "chosen": f"A good answer {i}.", "rejected": f"No {i}."} for i in range(12)]
CONTENT = "".join(json.dumps(row) + "\n" for row in PAIRS).encode()
BOTH = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
OPTIONS = {"training_strategy": "dpo", "load_in_4bit": False, "max_steps": 6, "save_steps": 2}


@pytest.fixture
def database_url(request):
    """SQLite, but for the modules that are marked to run on PostgreSQL as well."""
    return request.getfixturevalue("postgres").database() if getattr(request, "param", "") == "postgresql" else None


@pytest.fixture
def platform(tmp_path, database_url):
    config = FAST.model_copy(update={"max_upload_bytes": 200_000})
    opened = open_stub(tmp_path / "home", config=config, database_url=database_url)
    yield opened
    opened.close()


@pytest.fixture
def token(platform):
    return platform.tokens.create("test")


@pytest.fixture
def app(platform):
    return make_app(platform)


@pytest.fixture
def client(app, token):
    with TestClient(app, base_url="http://127.0.0.1", headers={"Authorization": f"Bearer {token}"}) as opened:
        yield opened


@pytest.fixture
def stranger(app):
    with TestClient(app, base_url="http://127.0.0.1") as opened:
        yield opened


@pytest.fixture
def file_id(client):
    answer = client.post("/api/v1/files", params={"filename": "pairs.jsonl"}, content=CONTENT)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


@pytest.fixture
def make_job(client, file_id):
    def make(**changes):
        spec = {"model": "qwen2-tiny-instruct", "train": file_id, "hyperparameters": OPTIONS}
        spec |= changes.pop("spec", {})
        answer = client.post("/api/v1/jobs", json={"spec": spec, **changes})
        assert answer.status_code == 201, answer.text
        return answer.json()

    return make


@pytest.fixture
def finished(make_job, platform):
    """A job that the stub trainer has brought to its end."""
    job = make_job(name="Polite answers", metadata={"team": "a"})
    drive_to(platform, job["id"], JobState.SUCCEEDED)
    return job["id"]
