import pytest

from quickalign.api.security import allowed_hosts, is_allowed
from quickalign.platform import Config


@pytest.mark.parametrize(
    "path",
    ["/api/v1/jobs", "/api/v1/jobs/x/logs/stream", "/v1/models", "/metrics", "/api/v1/nothing", "/", "/v1/nope"],
)
def test_everything_needs_a_token(stranger, path):
    answer = stranger.get(path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    for header in ("Bearer wrong", "Basic abc", "Bearer", "wrong", "Bearer \xff"):
        assert stranger.get(path, headers={"Authorization": header.encode("latin-1")}).status_code == 401


def test_but_for_signs_of_life_and_the_reference(stranger):
    for path in ("/healthz", "/readyz", "/api/v1/openapi.json"):
        assert stranger.get(path).status_code == 200


def test_a_revoked_token_is_worthless(client, platform):
    assert client.get("/api/v1/jobs").status_code == 200
    platform.tokens.revoke(platform.tokens.list()[0].id)
    assert client.get("/api/v1/jobs").status_code == 401


def test_foreign_host_names_are_refused(client):
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "localhost.evil.example"):
        assert client.get("/api/v1/jobs", headers={"Host": host}).status_code == 403, host
    for host in ("localhost", "LOCALHOST:99", "127.0.0.1:8421", "[::1]:8421", "10.1.2.3"):
        assert client.get("/api/v1/jobs", headers={"Host": host}).status_code == 200, host


def test_the_operator_allows_names():
    config = Config(allowed_hosts=("GPU.lan",), public_url="https://align.example.org/x")
    names = allowed_hosts(config)
    assert is_allowed("gpu.lan:8421", names)
    assert is_allowed("align.example.org", names)
    assert not is_allowed("example.org", names)


def test_foreign_pages_are_refused(client):
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1234"):
        assert client.get("/api/v1/jobs", headers={"Origin": origin}).status_code == 403, origin
    assert client.get("/api/v1/jobs", headers={"Origin": "http://127.0.0.1"}).status_code == 200
    asked = client.options("/api/v1/jobs", headers={"Origin": "https://evil.example"})
    assert asked.status_code == 403
    assert "access-control-allow-origin" not in asked.headers


def test_headers_that_browsers_obey(client, stranger):
    for answer in (client.get("/api/v1/jobs"), stranger.get("/api/v1/jobs"), client.get("/nope")):
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"


def test_nul_in_an_address(client):
    assert client.get("/api/v1/jobs/a%00b").status_code == 400
    assert client.get("/api/v1/jobs?text=a%00b").status_code == 400


def test_no_websocket(client):
    with pytest.raises(Exception), client.websocket_connect("/api/v1/jobs"):  # noqa: B017 - any refusal
        pass
