"""The gateway on a real platform, whose replicas' processes are of a fake world and whose endpoints are stubs."""

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from quickalign.api.app import make_app
from quickalign.core.wire.services import ServiceState
from tests.support.gateways import running, stub_replicas, wait_for
from tests.support.services import CALM, Stage, get_ready

S = ServiceState


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    config = CALM.model_copy(update={"service_wait_seconds": 300})
    opened = Stage(tmp_path_factory.mktemp("stage") / "home", config=config)
    yield opened
    opened.platform.close()


@pytest.fixture(scope="module")
def address(stage):
    with running(make_app(stage.platform)) as found:
        yield found


@pytest.fixture
def operator(stage, address):
    token = stage.platform.tokens.create("operator")
    with httpx.Client(
        base_url=address, headers={"Authorization": f"Bearer {token}"}, timeout=300, trust_env=False
    ) as opened:
        yield opened


def start(stage, stub):
    """Let the replica that waits be ready, with `stub` as its endpoint."""
    stage.tick()
    (run,) = stage.world.waiting()
    stage.world.arrive(run)
    get_ready(run, endpoint=f"http://127.0.0.1:{stub.port}")
    stage.tick()
    return run


def post(operator, name, order, token=None):
    body = {"model": "default", "messages": [{"role": "user", "content": order}]}
    headers = {} if token is None else {"Authorization": token}
    return operator.post(f"/services/{name}/v1/chat/completions", json=body, headers=headers)


def test_tokens_of_a_service(stage, operator, stubs):
    stage.create("keys")
    stage.create("other")
    stage.tick()
    for run, stub in zip(stage.world.waiting(), stubs, strict=True):
        stage.world.arrive(run)
        get_ready(run, endpoint=f"http://127.0.0.1:{stub.port}")
    stage.tick()
    own = operator.get("/api/v1/services/keys/token").json()["token"]
    named = operator.post("/api/v1/services/keys/tokens", json={"name": "app"}).json()
    for token in (own, named["token"]):
        assert post(operator, "keys", "say 1", token).status_code == 200
        assert post(operator, "other", "say 1", token).status_code == 401
    operator.delete(f"/api/v1/services/keys/tokens/{named['id']}")
    rotated = operator.post("/api/v1/services/keys/token/rotate").json()["token"]
    assert [post(operator, "keys", "say 1", token).status_code for token in (own, named["token"], rotated)] == [
        401,
        401,
        200,
    ]
    counted = operator.get("/api/v1/services/keys/metrics").json()
    assert (counted["requests"], counted["tokens_out"]) == (3, 3)
    for name in ("keys", "other"):
        operator.delete(f"/api/v1/services/{name}")
    stage.finish_stopping()


def test_an_update_under_load_fails_no_request(stage, operator, stubs):
    stage.create("busy")
    old = start(stage, stubs[0])
    ending = threading.Event()

    def load():
        statuses = []
        while not ending.is_set():
            statuses.append(post(operator, "busy", "say 3").status_code)
        return statuses

    with ThreadPoolExecutor(5) as pool:
        loads = [pool.submit(load) for _ in range(4)]
        long = pool.submit(post, operator, "busy", "wait")
        wait_for(lambda: any(b"wait" in each["body"] for each in stubs[0].requests))
        spec = stage.spec(context=256).model_dump(mode="json")
        assert operator.patch("/api/v1/services/busy", json={"spec": spec}).status_code == 200
        start(stage, stubs[1])
        wait_for(lambda: len(stubs[1].requests) > 20)
        for _ in range(5):
            stage.tick(1.0)
        assert not old.asked_to_stop, "a request is open there"
        stubs[0].release.set()
        assert long.result(20).status_code == 200
        wait_for(lambda: (stage.tick(1.0), old.asked_to_stop)[1])
        ending.set()
        statuses = [status for each in loads for status in each.result(20)]
    assert set(statuses) == {200}
    assert operator.get("/api/v1/services/busy").json()["revision"] == 2
    operator.delete("/api/v1/services/busy")
    stage.finish_stopping()


def test_a_request_wakes_a_service_that_was_idle(stage, operator, stubs):
    stage.create("sleepy", idle_stop_seconds=60)
    with stub_replicas(1) as (first,):  # its port is free when the service stops, or that would not be done
        start(stage, first)
    stage.tick(61)
    assert stage.services.get("sleepy").state is S.STOPPING
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post, operator, "sleepy", "say 1")
        wait_for(lambda: operator.get("/api/v1/services/sleepy/metrics").json()["open_requests"] == 1)
        wait_for(lambda: (stage.finish_stopping(), stage.world.waiting())[1], 30)
        start(stage, stubs[0])
        assert answer.result(60).status_code == 200
    operator.post("/api/v1/services/sleepy/stop")
    stage.tick()
    refused = post(operator, "sleepy", "say 1")
    assert refused.status_code == 503
    assert "stop" in refused.json()["error"]["message"]
