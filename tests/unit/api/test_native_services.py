"""The routes of services: what is not the platform's own: statuses, keys, streams."""

import json

SPEC = {"source": {"model": "qwen2-tiny-instruct"}}


def events_of(text):
    """The data of each event of a stream."""
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]


def test_a_service_is_made_once_with_a_key(client):
    body, headers = {"name": "polite", "spec": SPEC}, {"Idempotency-Key": "k"}
    first = client.post("/api/v1/services", json=body, headers=headers)
    again = client.post("/api/v1/services", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["id"] == again.json()["id"]
    taken = client.post("/api/v1/services", json=body)
    assert taken.status_code == 409
    assert taken.json()["field"] == "name"


def test_what_cannot_be_is_refused_with_its_field(client):
    for body, status, field in (
        ({"name": "Big Name", "spec": SPEC}, 422, "name"),
        ({"name": "a", "spec": {"source": {}}}, 422, "spec.source"),
        ({"name": "a", "spec": SPEC | {"engine": "abacus"}}, 422, "spec.engine"),
        ({"name": "a", "spec": {"source": {"job": "job-x"}}}, 404, "spec.source.job"),
        ({"name": "a", "spec": {"source": {"model": "qwen2-tini-instruct"}}}, 422, "spec.source"),
        ({"name": "a", "spec": {"source": {"adapter": "relative/path"}}}, 422, "adapter"),
        ({"name": "a", "spec": SPEC, "gpus": 1}, 422, "gpus"),
        ({"name": "a", "spec": SPEC, "replicas": 0}, 422, "replicas"),
        ({"name": "a", "spec": SPEC, "colour": 1}, 422, "colour"),
    ):
        answer = client.post("/api/v1/services", json=body)
        assert answer.status_code == status, answer.text
        assert answer.json()["field"] == field, answer.text
    assert client.get("/api/v1/services").json()["items"] == []


def test_only_the_servers_token_manages_services(client, stranger, make_service):
    make_service()
    own = client.get("/api/v1/services/polite/token").json()["token"]
    assert own.startswith("qs-")
    headers = {"Authorization": f"Bearer {own}"}
    assert stranger.get("/api/v1/services/polite", headers=headers).status_code == 401
    assert stranger.get("/api/v1/services").status_code == 401


def test_its_story_can_be_followed_to_the_end(client, platform, world, make_service):
    service = make_service()
    assert client.delete("/api/v1/services/polite").status_code == 202
    for run in world.alive():
        world.end(run, 0)
    for _ in range(2):
        platform.service_reconciler.tick()
    assert client.get("/api/v1/services/polite").status_code == 404
    gone = client.get(f"/api/v1/services/{service['id']}").json()
    assert gone["state"] == "deleted"
    assert gone["removal"]["processes"]
    listed = client.get(f"/api/v1/services/{service['id']}/events").json()["items"]
    streamed = events_of(client.get(f"/api/v1/services/{service['id']}/events/stream").text)
    assert [one["sequence"] for one in streamed if "sequence" in one] == [one["sequence"] for one in listed]
    assert listed[-1]["data"]["to"] == "deleted"
    log = client.get(f"/api/v1/services/{service['id']}/logs/stream")
    assert "event: end" in log.text


def test_figures_are_zero_where_no_gateway_counts(client, make_service):
    make_service()
    assert client.get("/api/v1/services/polite/metrics").json()["requests"] == 0
    assert client.get("/api/v1/services/polite/logs", params={"replica": "replica-x"}).status_code == 404
