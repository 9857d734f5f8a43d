import asyncio
import errno
import os

import pytest

from quickalign.api import limits
from quickalign.api.app import make_app
from tests.unit.api.conftest import CONTENT


def test_json_bodies_are_bounded(client):
    answer = client.post("/api/v1/jobs", content=b" " * (limits.MAX_JSON_BYTES + 1))
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["connection"] == "close"


def test_also_those_that_announce_no_length(client):
    def parts():
        for _ in range(5):
            yield b" " * (1 << 20)

    answer = client.post("/api/v1/jobs", content=parts(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413


@pytest.mark.parametrize("announced", [True, False])
def test_uploads_are_bounded(client, platform, announced):
    content = b"x" * 200_001
    body = content if announced else (content[at : at + 50_000] for at in range(0, len(content), 50_000))
    answer = client.post("/api/v1/files", params={"filename": "a.json"}, content=body)
    assert answer.status_code == 413
    assert "200,000" in answer.json()["detail"]
    assert list(platform.home.uploads.iterdir()) == []
    ours = client.post("/v1/files", files={"file": ("a.json", content)}, data={"purpose": "fine-tune"})
    assert ours.status_code == 413
    assert ours.json()["error"]["code"] == "too_large"
    assert client.get("/api/v1/files").json()["items"] == []


def scope(token, path="/api/v1/files", query=b"filename=a.jsonl"):
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {token}".encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }


async def call(app, token, messages, **options):
    sent = []
    waiting = iter(messages)

    async def receive():
        message = next(waiting, None)
        if message is None:
            await asyncio.Event().wait()
        return message

    async def send(message):
        sent.append(message)

    await app(scope(token, **options), receive, send)
    return sent[0]["status"]


def test_a_cut_off_upload_leaves_nothing(app, token, platform):
    part = {"type": "http.request", "body": CONTENT, "more_body": True}
    asyncio.run(call(app, token, [part, part, {"type": "http.disconnect"}]))
    assert list(platform.home.uploads.iterdir()) == []
    assert platform.files.list().items == ()


def test_an_upload_that_stands_still_is_given_up(platform, token, monkeypatch):
    monkeypatch.setattr(limits, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(limits.Limits.__init__, "__defaults__", (0.05,))
    part = {"type": "http.request", "body": CONTENT, "more_body": True}
    assert asyncio.run(call(make_app(platform), token, [part])) == 408
    assert list(platform.home.uploads.iterdir()) == []


@pytest.mark.parametrize("path", ["/api/v1/files?filename=a.json", "/v1/files"])
def test_a_full_disk_is_told_and_leaves_nothing(client, platform, monkeypatch, path):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    form = {"files": {"file": ("a.json", CONTENT)}, "data": {"purpose": "fine-tune"}}
    answer = client.post(path, **(form if path.startswith("/v1") else {"content": CONTENT}))
    monkeypatch.undo()
    assert answer.status_code == 503
    assert "is full" in answer.text
    assert list(platform.home.uploads.iterdir()) == []
    assert client.get("/api/v1/files").json()["items"] == []


def test_page_sizes_are_bounded(client, finished):
    for path in ("jobs", "files", f"jobs/{finished}/events", f"jobs/{finished}/metrics", f"jobs/{finished}/logs"):
        for limit in ("0", "-1", "99999999", "1e9", "abc", "9" * 400):
            answer = client.get(f"/api/v1/{path}", params={"limit": limit})
            assert answer.status_code == 422, (path, limit)
            assert answer.json()["field"] == "limit"
    assert client.get(f"/api/v1/jobs/{finished}/logs", params={"offset": str(10**30)}).status_code == 422
