"""A gateway process with many clients: what those cost that wait, and that a slow one holds nobody back."""

import asyncio
import os
import resource
import socket
import subprocess
import sys
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tests.support.gateways import stub_replicas, wait_for
from tests.support.server_process import ROOT

CONNECTIONS = 1000
MOST_BYTES = 200e6
REQUEST = (
    b"POST /services/one/v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: qs-one\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
)


def asking(order):
    body = b'{"model":"default","messages":[{"role":"user","content":"%s"}]}' % order
    return REQUEST % (len(body), body)


@pytest.fixture(scope="module", autouse=True)
def enough_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 5 * CONNECTIONS:
        pytest.skip(f"only {hard} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 5 * CONNECTIONS), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def stub():
    with stub_replicas(1) as (started,):
        yield started


@pytest.fixture(scope="module")
def process(tmp_path_factory, stub):
    home = tmp_path_factory.mktemp("many") / "home"
    command = [sys.executable, "-m", "tests.support.gateway_server", str(home), f"http://127.0.0.1:{stub.port}"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT, env=environment
    ) as started:
        started.address = started.stdout.readline().strip()
        assert started.address
        yield started
        started.terminate()


@pytest.fixture
def place(process):
    parts = urlsplit(process.address)
    return parts.hostname, parts.port


def test_connections_that_wait_cost_little(process, stub, place, record_property):
    memory = psutil.Process(process.pid).memory_info
    assert httpx.get(f"{process.address}/healthz", trust_env=False).status_code == 200
    before = memory().rss

    async def hold():
        writers = []
        for order in (None, b"hang 1"):
            for _ in range(CONNECTIONS):
                reader, writer = await asyncio.open_connection(*place)
                writers.append(writer)
                if order is not None:
                    writer.write(asking(order))
                    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            yield memory().rss - before
        for writer in writers:
            writer.close()

    async def measure():
        return [grown async for grown in hold()]

    idle, open_too = asyncio.run(measure())
    assert idle < MOST_BYTES, f"{idle / 1e6:.0f} MB"
    assert open_too < MOST_BYTES, f"{open_too / 1e6:.0f} MB"
    record_property("bytes_of_idle_connections", idle)
    record_property("bytes_with_as_many_open_streams", open_too)
    wait_for(lambda: len(stub.left) == CONNECTIONS, 60)


def test_a_slow_client_holds_nobody_back(process, stub, place):
    """64 MB for a client that reads nothing: they stay with the replica, and others are answered meanwhile."""
    events = 4096
    before = psutil.Process(process.pid).memory_info().rss
    with socket.create_connection(place) as slow:
        stub.sent = 0
        slow.sendall(asking(b"flood %d" % events))
        wait_for(lambda: stub.sent > 10, 30)
        with httpx.Client(base_url=process.address, trust_env=False, timeout=30) as client:
            for _ in range(20):
                body = {"model": "default", "messages": [{"role": "user", "content": "whole"}]}
                answer = client.post(
                    "/services/one/v1/chat/completions", json=body, headers={"Authorization": "qs-one"}
                )
                assert answer.status_code == 200
        assert stub.sent < events / 2
        assert psutil.Process(process.pid).memory_info().rss - before < 20e6
        taken = 0
        while part := slow.recv(1 << 20):
            taken += len(part)
            if part.endswith(b"0\r\n\r\n"):
                break
        assert taken > events * 16384
