"""A server's bound on heads, over a real socket: however a head comes, what is kept of it is bounded."""

import asyncio
import socket
import threading
from contextlib import suppress
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

from quickalign.serve.http import protocol
from quickalign.serve.http.protocol import MAX_HEAD_BYTES
from quickalign.serve.listening import Server, bind
from tests.support.gateways import running

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


async def _echo(scope, receive, send):
    """Tells the size of the body, and of the headers."""
    body, more = 0, True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        body += len(message.get("body", b""))
    text = f"{body} {sum(len(value) for _, value in scope['headers'])}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(text))]})
    await send({"type": "http.response.body", "body": text})


@pytest.fixture(scope="module")
def address():
    with running(_echo) as url:
        parts = urlsplit(url)
        yield parts.hostname, parts.port


def _answer(address, *pieces):
    """What a server answers to pieces of a request; it may stop reading them."""
    with socket.create_connection(address, timeout=10) as wire:
        try:
            for piece in pieces:
                wire.sendall(piece)
        except OSError:
            pass
        answer = b""
        try:
            while b"\r\n\r\n" not in answer or not answer.partition(b"\r\n\r\n")[2]:
                read = wire.recv(65536)
                if not read:
                    break
                answer += read
        except ConnectionResetError:
            pass
        return answer


def _refused(answer):
    return answer == b"" or answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "head",
    [
        pytest.param([b"GET /" + b"a" * MAX_HEAD_BYTES + b" HTTP/1.1\r\n\r\n"], id="address"),
        pytest.param([GET + b"X: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n"], id="one-header"),
        pytest.param([GET + b"X: yyyyyyyyyyyyyyyyyyyy\r\n" * 3000 + b"\r\n"], id="many-headers"),
        pytest.param([GET, *[b"X: yyyyyyyyyyyyyyyyyyyy\r\n"] * 3000, b"\r\n"], id="many-headers-in-pieces"),
    ],
)
def test_a_long_head_is_refused_and_says_so(address, head):
    answer = _answer(address, *head)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"longer than 65536 bytes" in answer


@pytest.mark.parametrize(
    "begun",
    [
        pytest.param(GET + b"X: ", id="header"),
        pytest.param(GET, id="header-name"),
        pytest.param(POST + b"1;x=", id="chunk-extension"),
        pytest.param(POST + b"1\r\na\r\n0\r\nX: ", id="trailer"),
    ],
)
def test_what_never_ends_is_not_kept(address, begun):
    """Two megabytes of something that the parser keeps until it is complete."""
    assert _refused(_answer(address, begun, *[b"z" * 16384] * 128))


def test_trailers_count_as_headers_do(address):
    answer = _answer(address, POST, b"1\r\na\r\n0\r\n", *[b"X: yyyyyyyyyyyyyyyyyyyy\r\n"] * 4000, b"\r\n")
    assert _refused(answer)


def test_bodies_are_not_heads(address):
    body = b"b" * 1_000_000
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
    assert _answer(address, head + body).endswith(b"\r\n\r\n1000000 16")
    chunks = b"".join(b"%x\r\n%s\r\n" % (10000, body[:10000]) for _ in range(100)) + b"0\r\n\r\n"
    assert b"\r\n\r\n1000000 " in _answer(address, POST + chunks)


async def _count(scope, receive, send):
    """Three parts of an answer; its length is told where the address says so."""
    length = [(b"Content-Length", b"6")] if scope["path"] == "/told" else []
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain"), *length]})
    for part in (b"one", b"", b"two"):
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body"})


@pytest.fixture(scope="module")
def counting():
    with running(_count) as url:
        parts = urlsplit(url)
        yield parts.hostname, parts.port


@pytest.mark.parametrize("path", ["/told", "/"])
@pytest.mark.parametrize("keep", [b"", b"Connection: keep-alive\r\n"])
def test_an_answer_to_http_1_0_has_no_chunks_and_ends_with_its_connection(counting, path, keep):
    with socket.create_connection(counting, timeout=10) as wire:
        wire.sendall(b"GET %s HTTP/1.0\r\n%s\r\n" % (path.encode(), keep))
        answer = b"".join(iter(lambda: wire.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert body == b"onetwo"
    assert b"chunked" not in head
    assert b"connection: close" in head
    assert (b"content-length" in head) is (path == "/told")


def test_an_answer_to_http_1_1_has_chunks_where_its_length_is_not_told(counting):
    head, _, body = _answer(counting, GET + b"\r\n").partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert body.startswith(b"3\r\none\r\n")


def test_a_replica_has_the_bound_too():
    async def asked():
        server = Server(_echo, listener, 0)
        await server.start()
        answer = await asyncio.to_thread(
            _answer, listener.getsockname(), GET + b"X: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n"
        )
        await server.stop(SimpleNamespace(fail=lambda reason: None))
        return answer

    with bind("127.0.0.1", 0) as listener:
        assert b"longer than 65536 bytes" in asyncio.run(asked())


@pytest.mark.parametrize("sent", [b"", GET, b"\r\n"])
def test_a_head_that_does_not_come_ends_the_connection(address, monkeypatch, sent):
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.01)
    with socket.create_connection(address, timeout=10) as wire, suppress(ConnectionError):
        wire.sendall(sent)
        assert wire.recv(65536) == b""


@pytest.mark.parametrize("sent", [GET, b"\r\n"])
def test_nor_does_a_connection_wait_for_its_second_head(address, monkeypatch, sent):
    with socket.create_connection(address, timeout=10) as wire:
        wire.sendall(GET + b"\r\n")
        answer = b""
        while not answer.endswith(b"\r\n\r\n0 9"):
            answer += wire.recv(65536)
        monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.01)
        wire.sendall(sent)
        assert wire.recv(65536) == b""


def test_an_answer_may_take_longer_than_a_head(monkeypatch):
    async def late(scope, receive, send):
        await asyncio.get_running_loop().run_in_executor(None, asked.wait, 10)
        await _count(scope, receive, send)

    asked = threading.Event()
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 1.0)
    with running(late) as url:
        place = (urlsplit(url).hostname, urlsplit(url).port)
        with socket.create_connection(place, 10) as wire, socket.create_connection(place, 10) as other:
            wire.sendall(GET + b"\r\n")
            assert other.recv(1) == b"", "its head never came"
            asked.set()
            assert wire.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_every_request_of_a_connection_has_the_bound_for_itself(address):
    long = GET + b"X: " + b"x" * 40_000 + b"\r\n\r\n"
    with socket.create_connection(address, timeout=10) as wire:
        for _ in range(4):
            wire.sendall(long)
            answer = b""
            while not answer.endswith(b"0 40009"):
                read = wire.recv(65536)
                assert read, answer
                answer += read
            assert answer.startswith(b"HTTP/1.1 200 ")
