"""Who may ask for what: a service's token opens that service, a server's token all of them."""

import itertools
import json
import re

import pytest

from quickalign.api.gateway.keys import Keys
from tests.support.gateways import MADE

CHAT = "/services/one/v1/chat/completions"
BODY = {"model": "one", "messages": [{"role": "user", "content": "say 1"}]}


def post(client, path, token, body=BODY):
    return client.post(path, json=body, headers={} if token is None else {"Authorization": token})


@pytest.fixture
def server_token(platform):
    return platform.tokens.create("test")


def test_a_token_opens_bare_or_as_bearer(client, service, server_token):
    for path, token in itertools.product((CHAT, "/v1/chat/completions"), ("qs-one", server_token)):
        for given in (token, f"Bearer {token}", f"bearer  {token}"):
            assert post(client, path, given).status_code == 200, given


WRONG = (None, "", "Bearer", "wrong", "Bearer wrong", "Bearer \xff", "Basic abc", "x" * 5000)
GUARDED = (CHAT, "/v1/chat/completions", "/v1/completions", "/services/one/v1/models", "/services/one/health")


def test_a_wrong_token_opens_nothing(client, service, stubs):
    for given, path in itertools.product(WRONG, GUARDED):
        headers = {} if given is None else {"Authorization": given.encode("latin-1")}
        method = "GET" if path.endswith(("models", "health")) else "POST"
        answer = client.request(method, path, json=BODY if method == "POST" else None, headers=headers)
        assert answer.status_code == 401, (given, path)
        assert answer.json()["error"]["code"] == "invalid_api_key"
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert not any(stub.requests for stub in stubs)


def test_one_services_token_opens_no_other(client, service, endpoints, stubs, server_token):
    endpoints.add("two", stubs[0].upstream, token="qs-two")
    assert post(client, CHAT, "qs-two").status_code == 401
    assert post(client, "/v1/chat/completions", "qs-two").status_code == 401
    assert post(client, "/v1/chat/completions", "qs-two", BODY | {"model": "two"}).status_code == 200
    assert post(client, "/services/two/v1/chat/completions", "qs-one").status_code == 401
    assert post(client, "/services/two/v1/chat/completions", server_token, BODY | {"model": "two"}).status_code == 200


def test_what_is_not_there_is_not_told_to_who_may_not_know(client, service, server_token):
    for token, status in (("qs-one", 401), ("wrong", 401), (server_token, 404)):
        assert post(client, "/services/none/v1/chat/completions", token).status_code == status
        assert post(client, "/v1/chat/completions", token, BODY | {"model": "none"}).status_code == status


def test_a_services_token_opens_nothing_else_of_the_server(client, service):
    for path in ("/v1/models", "/api/v1/jobs", "/metrics", "/v1/files"):
        assert client.get(path, headers={"Authorization": "Bearer qs-one"}).status_code == 401, path


def test_a_revoked_token_opens_nothing(client, service, endpoints, platform, server_token):
    endpoints.tokens["service-one"] = {"service": "qs-rotated"}
    assert post(client, CHAT, "qs-one").status_code == 401
    assert post(client, CHAT, "qs-rotated").status_code == 200
    platform.tokens.revoke(platform.tokens.list()[-1].id)
    assert post(client, CHAT, server_token).status_code == 401


def test_every_token_is_compared_with_every_service(endpoints, platform):
    """The time that a wrong token takes depends on how many services there are, never on how much of it is right."""
    for number in range(5):
        endpoints.add(f"s{number}")
    compared = []
    verify = endpoints.verify
    endpoints.verify = lambda service, text: compared.append(service) or verify(service, text)

    async def ask(token):
        from starlette.datastructures import Headers

        return await Keys(endpoints, platform.tokens).any(Headers({"authorization": token}))

    import anyio

    assert anyio.run(ask, "qs-s0") is None
    assert len(compared) == 5


def test_foreign_pages_and_names_are_refused_in_the_dialect(client, service):
    for header in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
        answer = client.post(CHAT, json=BODY, headers={"Authorization": "qs-one"} | header)
        assert answer.status_code == 403
        assert "message" in answer.json()["error"]


def test_models_are_listed_with_services(client, service, server_token):
    headers = {"Authorization": f"Bearer {server_token}"}
    first, *rest = client.get("/v1/models", headers=headers).json()["data"]
    assert first == {"id": "one", "object": "model", "created": int(MADE), "owned_by": "quickalign"}
    assert "qwen2-tiny-instruct" in [each["id"] for each in rest]
    assert client.get("/v1/models/one", headers=headers).json() == first
    refused = client.delete("/v1/models/one", headers=headers)
    assert refused.status_code == 400
    assert "service" in refused.json()["error"]["message"]


def test_a_services_own_model(client, service, stubs):
    headers = {"Authorization": "qs-one"}
    for name in ("one", "default", "ft:base:q:one:abc"):
        assert client.get(f"/services/one/v1/models/{name}", headers=headers).status_code == 200
    assert {each["line"] for stub in stubs for each in stub.requests} == {"GET /v1/models/default HTTP/1.1"}
    unknown = client.get("/services/one/v1/models/other", headers=headers)
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")


def test_health(client, service, endpoints):
    headers = {"Authorization": "qs-one"}
    answer = client.get("/services/one/health", headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "state": "running", "replicas": 2})
    endpoints.change("one", replicas=())
    assert client.get("/services/one/health", headers=headers).status_code == 503


NAMELESS = {
    b"": 400,
    b"{": 400,
    b"[]": 400,
    b"null": 400,
    b'{"messages": []}': 400,
    b'{"model": 5}': 400,
    b'{"model": ""}': 400,
    b'{"model": "nope"}': 404,
    b'{"model": "one", "x": NaN}': 400,
    b'{"model": "\\ud800"}': 400,
    b"\xff\xfe": 400,
}


def test_bodies_that_name_no_service(client, service, server_token):
    for content, status in NAMELESS.items():
        answer = client.post("/v1/chat/completions", content=content, headers={"Authorization": server_token})
        assert answer.status_code == status, content
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_a_body_that_is_too_large(client, service):
    body = json.dumps(BODY | {"x": "y" * (5 << 20)})
    answer = client.post(CHAT, content=body, headers={"Authorization": "qs-one"})
    assert answer.status_code == 413
    assert "message" in answer.json()["error"]


def test_paths_and_methods_that_are_not_there(client, service, server_token):
    headers = {"Authorization": f"Bearer {server_token}"}
    for method, path, status in (
        ("GET", CHAT, 405),
        ("POST", "/services/one/v1/embeddings", 404),
        ("POST", "/v1/embeddings", 404),
        ("DELETE", "/services/one/", 405),
    ):
        answer = client.request(method, path, headers=headers)
        assert answer.status_code == status, (method, path)
    assert "message" in client.get(CHAT, headers=headers).json()["error"]


def test_the_page_is_the_same_for_everyone_and_obeys_the_policy(client, service):
    moved = client.get("/services/one")
    assert (moved.status_code, moved.headers["location"]) == (308, "./one/")
    here, nowhere = client.get("/services/one/"), client.get("/services/none/")
    assert here.status_code == nowhere.status_code == 200
    assert here.content == nowhere.content
    assert "unsafe-inline" not in here.headers["content-security-policy"]
    assert "<style" not in here.text
    assert " style=" not in here.text
    parts = re.findall(r'(?:href|src)="([^"]+)"', here.text)
    assert len(parts) >= 3
    for part in parts:
        assert client.get(f"/services/one/{part}").status_code == 200, part
    assert client.get("/services/one/page/..%2frouter.py").status_code == 404
    assert client.get("/services/one/page/nothing.js").status_code == 404
