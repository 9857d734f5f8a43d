"""The endpoint before replicas that are scripts: what clients are told whatever happens behind it."""

import asyncio
import json

import pytest

from quickalign.cluster.service_front import Front
from quickalign.cluster.service_messages import Arrived, Begun, FullError, LostError
from quickalign.cluster.service_metrics import Metrics

EVENTS = (b"content-type", b"text/event-stream")
JSON = (b"content-type", b"application/json")
STREAM = [Arrived(), Begun(200, (EVENTS, (b"x-request-id", b"inner"))), b"data: 1\n\n", b"data: [DONE]\n\n"]


class Scripted:
    """Each request plays the next script; an exception in it is raised, `wait` stands still for ever."""

    def __init__(self, *scripts):
        self.scripts, self.asked, self.closed, self.running = list(scripts), [], 0, 1

    async def ask(self, asked):
        self.asked.append(asked)
        try:
            for told in self.scripts.pop(0):
                if told == "wait":
                    await asyncio.Event().wait()
                elif isinstance(told, Exception):
                    raise told
                else:
                    yield told
        finally:
            self.closed += 1


def front(*scripts, wait_seconds=5.0):
    return Front(Scripted(*scripts), Metrics("tiny"), limit=80, wait_seconds=wait_seconds)


class Client:
    """One request to an application, with what came of it."""

    def __init__(self, app, path="/v1/chat/completions", body=b"{}"):
        self.sent, self.left = [], asyncio.Event()
        scope = {"type": "http", "method": "POST", "path": path, "query_string": b"a=b", "headers": [
            (b"host", b"elsewhere"), JSON, (b"authorization", b"Bearer secret"), (b"x-request-id", b"mine")]}  # fmt: skip
        self.unread = [body]
        self.task = asyncio.ensure_future(app(scope, self.receive, self.send))

    async def receive(self):
        if self.unread:
            return {"type": "http.request", "body": self.unread.pop(), "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.sent.append(message)

    @property
    def status(self):
        return self.sent[0]["status"]

    @property
    def headers(self):
        return dict(self.sent[0]["headers"])

    @property
    def body(self):
        return b"".join(message["body"] for message in self.sent[1:])

    @property
    def is_whole(self):
        return len(self.sent) > 1 and not self.sent[-1].get("more_body", False)

    @property
    def code(self):
        return json.loads(self.body.split(b"data: ")[-1])["error"]["code"]

    async def begun(self):
        while len(self.sent) < 2:
            await asyncio.sleep(0)


def ask(app, **how):
    async def play():
        client = Client(app, **how)
        await client.task
        return client

    return asyncio.run(play())


def test_an_answer_goes_through_as_it_comes():
    app = front(STREAM)
    client = ask(app, body=b'{"stream": true}')
    assert (client.status, client.body, client.is_whole) == (200, b"data: 1\n\ndata: [DONE]\n\n", True)
    assert client.headers == dict([EVENTS])
    (asked,) = app.replicas.asked
    assert (asked.method, asked.path, asked.query, asked.body) == (
        "POST",
        "/v1/chat/completions",
        b"a=b",
        b'{"stream": true}',
    )
    assert dict(asked.headers) == {
        b"host": b"127.0.0.1",
        b"content-type": b"application/json",
        b"x-request-id": b"mine",
    }


def test_a_refusal_of_a_replica_goes_through():
    full = [Arrived(), Begun(429, (JSON, (b"retry-after", b"3"))), b'{"error": {"code": "rate_limit_exceeded"}}']
    client = ask(front(full))
    assert (client.status, client.headers[b"retry-after"], client.code) == (429, b"3", "rate_limit_exceeded")


def test_a_cold_start_is_waited_for_and_then_said():
    client = ask(front(["wait"], wait_seconds=0.05))
    assert (client.status, client.code, client.headers[b"retry-after"]) == (503, "not_ready", b"5")


def test_an_answer_that_takes_long_is_no_cold_start():
    async def play():
        app = front([Arrived(), "wait"], wait_seconds=0.05)
        client = Client(app)
        await asyncio.sleep(0.2)
        assert not client.task.done()
        client.left.set()
        await client.task

    asyncio.run(play())


def test_too_many_that_wait_are_refused():
    client = ask(front([FullError()]))
    assert (client.status, client.code, client.headers[b"retry-after"]) == (429, "rate_limit_exceeded", b"1")


@pytest.mark.parametrize(
    "lost", [[LostError()], [Arrived(), LostError()], [Arrived(), STREAM[1], LostError()], [Arrived()]]
)
def test_what_is_lost_before_an_answer_begins_is_asked_again(lost):
    client = ask(front(lost, STREAM))
    assert (client.status, client.body) == (200, b"data: 1\n\ndata: [DONE]\n\n")


def test_what_brought_two_replicas_down_is_not_given_to_a_third():
    app = front([LostError()], [Arrived(), LostError()], STREAM)
    client = ask(app)
    assert (client.status, client.code) == (502, "replica_lost")
    assert len(app.replicas.asked) == 2
    assert b'quickalign_lost_answers_total{model="tiny"} 1.0' in app.metrics.text()


def test_a_stream_whose_replica_goes_ends_with_an_error_event():
    app = front([*STREAM[:3], LostError()], STREAM)
    client = ask(app)
    assert (client.status, client.code, client.is_whole) == (200, "replica_lost", True)
    assert client.body.startswith(b"data: 1\n\n")
    assert len(app.replicas.asked) == 1


def test_any_other_answer_that_breaks_off_stays_short():
    client = ask(front([Arrived(), Begun(200, (JSON, (b"content-length", b"9"))), b"{", LostError()]))
    assert not client.is_whole


def test_a_client_that_leaves_ends_the_answer():
    async def play():
        app = front([*STREAM[:3], "wait"])
        client = Client(app)
        await client.begun()
        assert len(app.open) == 1
        client.left.set()
        await asyncio.wait_for(client.task, 2)
        assert app.replicas.closed == 1
        assert not app.open

    asyncio.run(play())


def test_the_end_of_the_service_is_told_to_who_waits_and_to_who_comes():
    async def play():
        app = front([*STREAM[:3], "wait"], ["wait"], ["wait"])
        streaming, waiting = Client(app), Client(app)
        await streaming.begun()
        app.fail("The replica is shutting down.")
        late = Client(app)
        await asyncio.gather(streaming.task, waiting.task, late.task)
        assert (streaming.status, streaming.code, streaming.is_whole) == (200, "engine_failed", True)
        assert (waiting.status, late.status) == (503, 503)
        assert app.failed.is_set()

    asyncio.run(play())


def test_health_says_how_it_stands():
    app = front()
    assert json.loads(ask(app, path="/health").body) == {"status": "starting"}
    app.ready = True
    assert json.loads(ask(app, path="/health").body) == {"status": "ok", "open_answers": 0, "limit": 80, "replicas": 1}
    app.fail("It is gone.")
    gone = ask(app, path="/health")
    assert (gone.status, json.loads(gone.body)["reason"]) == (503, "It is gone.")
    assert b"quickalign_cluster_replicas" in ask(app, path="/metrics").body
