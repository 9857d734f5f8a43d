"""A real server process: its start and end, its files, hostile connections, many followers."""

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tests.support.homes import environment, fresh_home, wait_until

DATA = b'{"prompt": "a", "chosen": "b", "rejected": "c"}\n'


def launch(home, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "quickalign.api", "--home", str(home), "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(home) | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with fresh_home(tmp_path_factory.mktemp("process")) as home:
        (home / "config.toml").write_text("cpu_jobs = 0\nmax_upload_bytes = 1000000\n")
        process = launch(home)
        wait_until((home / "server.json").exists)
        yield home, process
        process.terminate()
        output = process.communicate(timeout=30)[0]
        assert process.returncode == 0
        assert "Traceback" not in output
        assert (home / "token").read_text().strip() not in output
        assert not (home / "server.json").exists()


@pytest.fixture
def client(server):
    home, _ = server
    with httpx.Client(base_url=endpoint(home), headers=headers(home), timeout=20) as opened:
        yield opened


def endpoint(home):
    return json.loads((home / "server.json").read_text())["endpoint"]


def headers(home):
    return {"Authorization": f"Bearer {(home / 'token').read_text().strip()}"}


def test_server_json_names_the_process(server):
    home, process = server
    entry = json.loads((home / "server.json").read_text())
    assert entry["pid"] == process.pid
    assert abs(entry["create_time"] - psutil.Process(process.pid).create_time()) < 1
    assert stat.S_IMODE((home / "token").stat().st_mode) == 0o600


def test_a_second_server_is_refused(server):
    home, _ = server
    second = launch(home)
    output = second.communicate(timeout=60)[0]
    assert second.returncode == 9
    assert "Another server is running" in output
    assert "Traceback" not in output
    assert httpx.get(f"{endpoint(home)}/healthz").status_code == 200


def test_it_does_not_listen_to_others_in_the_clear(tmp_path):
    process = launch(tmp_path / "home", "--host", "0.0.0.0")
    assert "--insecure-http" in process.communicate(timeout=60)[0]
    assert process.returncode == 2


def connect(home):
    place = urlsplit(endpoint(home))
    return socket.create_connection((place.hostname, place.port), timeout=20)


def test_a_cut_off_upload_leaves_nothing(server, client):
    home, _ = server
    token = headers(home)["Authorization"]
    before = client.get("/api/v1/files").json()
    with connect(home) as wire:
        wire.sendall(
            f"POST /api/v1/files?filename=a HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n"
            "Content-Length: 500000\r\n\r\n".encode()
            + DATA * 2000
        )
        wait_until(lambda: list((home / "blobs" / "arriving").iterdir()))
    wait_until(lambda: not list((home / "blobs" / "arriving").iterdir()))
    assert client.get("/api/v1/files").json() == before


def test_enormous_headers_and_nonsense_are_refused(server):
    home, _ = server
    for request in (b"GET / HTTP/1.1\r\nX: " + b"x" * 200_000 + b"\r\n\r\n", b"\x16\x03\x01nonsense\r\n\r\n"):
        with connect(home) as wire:
            wire.sendall(request)
            assert wire.recv(100).startswith(b"HTTP/1.1 4")
    assert httpx.get(f"{endpoint(home)}/healthz").status_code == 200


def test_two_hundred_followers(server, client):
    home, process = server
    file = client.post("/api/v1/files", params={"filename": "a.jsonl"}, content=DATA).json()["id"]
    job = client.post("/api/v1/jobs", json={"spec": {"model": "qwen2-tiny-instruct", "train": file}}).json()["id"]

    async def follow(http):
        async with http.stream("GET", f"/api/v1/jobs/{job}/events/stream") as answer:
            return [line async for line in answer.aiter_lines() if line.startswith(("event", "data"))]

    async def scenario():
        limits = httpx.Limits(max_connections=300)
        async with httpx.AsyncClient(base_url=endpoint(home), headers=headers(home), timeout=60, limits=limits) as http:
            followers = [asyncio.create_task(follow(http)) for _ in range(200)]
            while " 200.0" not in (await http.get("/metrics")).text.split("quickalign_followers", 3)[3][:8]:
                await asyncio.sleep(0.1)
            usage = psutil.Process(process.pid)
            begun = sum(usage.cpu_times()[:2])
            await asyncio.sleep(2)
            share = (sum(usage.cpu_times()[:2]) - begun) / 2
            await http.post(f"/api/v1/jobs/{job}/cancel")
            found = await asyncio.gather(*followers)
        assert all(lines[-2] == "event: end" for lines in found)
        assert len({tuple(lines) for lines in found}) == 1
        assert share < 0.25
        assert usage.num_threads() < 80

    asyncio.run(scenario())


def test_streams_end_with_the_server(tmp_path):
    with fresh_home(tmp_path) as home:
        (home / "config.toml").write_text("cpu_jobs = 0\n")
        process = launch(home)
        wait_until((home / "server.json").exists)
        with httpx.Client(base_url=endpoint(home), headers=headers(home), timeout=20) as http:
            file = http.post("/api/v1/files", params={"filename": "a.jsonl"}, content=DATA).json()["id"]
            job = http.post("/api/v1/jobs", json={"spec": {"model": "qwen2-tiny-instruct", "train": file}}).json()
            with http.stream("GET", f"/api/v1/jobs/{job['id']}/logs/stream") as answer:
                parts = answer.iter_bytes()
                next(parts)
                process.terminate()
                assert b"event: end" not in b"".join(parts)
        assert process.wait(8) == 0
