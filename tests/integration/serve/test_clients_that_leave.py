"""A client that goes away stops its generation; a full replica says 429; a slow client holds nobody up."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import openai
import pytest

from tests.support.replicas import MODEL, RunningReplica, running_replica

LONG = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "Hello"}],
    "max_tokens": 1900,
    "temperature": 1.5,
    "extra_body": {"ignore_eos": True},
}


@pytest.fixture(scope="module")
def small() -> Iterator[RunningReplica]:
    """A replica for two answers at once, with a token."""
    with running_replica("--model", MODEL, "--max-concurrency", "2", "--max-waiting", "1") as running:
        yield running


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.02)


def test_leaving_a_stream_stops_it(small: RunningReplica) -> None:
    stream = small.client().chat.completions.create(**LONG, stream=True)
    for _, _chunk in zip(range(5), stream, strict=False):
        pass
    assert small.open_answers() == 1
    stream.close()
    wait_until(lambda: small.open_answers() == 0, seconds=5)


def test_leaving_a_whole_answer_stops_it(small: RunningReplica) -> None:
    with pytest.raises(openai.APITimeoutError):
        small.client(timeout=0.5).chat.completions.create(**LONG)
    wait_until(lambda: small.open_answers() == 0, seconds=5)


def test_a_full_replica_refuses_at_once_and_says_when_to_come_back(small: RunningReplica) -> None:
    streams = [small.client().chat.completions.create(**LONG, stream=True) for _ in range(3)]
    wait_until(lambda: small.open_answers() == 3)
    started = time.monotonic()
    with pytest.raises(openai.RateLimitError) as caught:
        small.client().chat.completions.create(**LONG)
    assert time.monotonic() - started < 2
    assert caught.value.status_code == 429
    assert int(caught.value.response.headers["Retry-After"]) >= 1
    assert caught.value.code == "rate_limit_exceeded"
    for stream in streams:
        stream.close()
    wait_until(lambda: small.open_answers() == 0)
    assert small.client().chat.completions.create(**LONG | {"max_tokens": 3}).usage.completion_tokens == 3


def test_a_slow_client_holds_nobody_up(small: RunningReplica) -> None:
    address = urlsplit(small.endpoint)
    body = b'{"model":"default","messages":[{"role":"user","content":"Hi"}],"max_tokens":1500,"ignore_eos":true,"stream":true}'
    with socket.create_connection((address.hostname, address.port)) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            + b"Content-Length: %d\r\n\r\n" % len(body)
            + body
        )
        wait_until(lambda: small.open_answers() == 1)
        done = threading.Event()

        def ask() -> None:
            small.client().chat.completions.create(**LONG | {"max_tokens": 5})
            done.set()

        threading.Thread(target=ask, daemon=True).start()
        assert done.wait(20)
    wait_until(lambda: small.open_answers() == 0)
