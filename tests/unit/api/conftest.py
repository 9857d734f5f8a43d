import json

import pytest
from starlette.testclient import TestClient

from quickalign.api.app import make_app
from quickalign.core.wire.jobs import JobState
from tests.support.fake_executor import FakeExecutor, World
from tests.support.platforms import FAST, drive_to, open_stub
from tests.support.services import get_ready

PAIRS = [{"prompt": f"Question {i}?", "chosen": f"A good answer {i}.", "rejected": f"No {i}."} for i in range(12)]
CONTENT = "".join(json.dumps(row) + "\n" for row in PAIRS).encode()
BOTH = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
OPTIONS = {"training_strategy": "dpo", "load_in_4bit": False, "max_steps": 6, "save_steps": 2}


@pytest.fixture
def database_url(request):
    """SQLite, but for the modules that are marked to run on PostgreSQL as well."""
    return request.getfixturevalue("postgres").database() if getattr(request, "param", "") == "postgresql" else None


@pytest.fixture
def world():
    """Where replicas of services live, which are no processes here."""
    return World()


@pytest.fixture
def platform(tmp_path, database_url, world):
    config = FAST.model_copy(update={"max_upload_bytes": 200_000})
    opened = open_stub(
        tmp_path / "home",
        config=config,
        database_url=database_url,
        replicas=FakeExecutor(world),
        probe=lambda endpoint, token: True,
    )
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
def make_service(client, platform, world):
    """Makes a service that runs, with an earlier revision to go back to."""

    def answers():
        for _ in range(3):
            platform.service_reconciler.tick()
            for run in world.waiting():
                world.arrive(run)
            for run in world.alive():
                get_ready(run)
        platform.service_reconciler.tick()

    def make(name="polite", **changes):
        source = {"model": "qwen2-tiny-instruct"}
        answer = client.post("/api/v1/services", json={"name": name, "spec": {"source": source}, **changes})
        assert answer.status_code == 201, answer.text
        answers()
        changed = client.patch(f"/api/v1/services/{name}", json={"spec": {"source": source, "context": 64}})
        assert changed.status_code == 200, changed.text
        answers()
        service = client.get(f"/api/v1/services/{name}").json()
        assert (service["state"], service["revision"]) == ("running", 2), service
        return service

    return make


@pytest.fixture
def finished(make_job, platform):
    """A job that the stub trainer has brought to its end."""
    job = make_job(name="Polite answers", metadata={"team": "a"})
    drive_to(platform, job["id"], JobState.SUCCEEDED)
    return job["id"]
