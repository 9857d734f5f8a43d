"""Following goes on where a lost connection stopped, and ends."""

from collections import deque

import httpx
import pytest

from quickalign.core.errors import AccessError, NotFoundError, UnavailableError
from quickalign.core.wire.jobs import Event, LogChunk
from quickalign.sdk import follow as following
from quickalign.sdk.follow import MetricsLine, follow
from tests.support.fake_api import event, problem, sse

END = ("end", "", "{}")


def told(number):
    return ("state", str(number), event(number).model_dump_json())


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    monkeypatch.setattr(following, "_GIVE_UP_SECONDS", 0.3)


def test_everything_is_told_once_and_in_order_over_lost_connections(api):
    api.streams["events"] = deque([sse(told(1), told(2)), httpx.ReadError("reset"), sse(told(3)), sse(told(4), END)])
    found = list(follow(api.client(), "job-1", {"events": 0}))
    assert [each.sequence for each in found if isinstance(each, Event)] == [1, 2, 3, 4]
    assert [request.url.params["after"] for request in api.requests] == ["0", "2", "3"]


def test_several_streams_end_when_all_have(api):
    chunk = LogChunk(offset=0, next_offset=5, text="hello", complete=False)
    api.streams["events"] = deque([sse(told(1), END)])
    api.streams["logs"] = deque([sse(("log", "5", chunk.model_dump_json()), END)])
    api.streams["steps"] = deque([sse(("metrics", "1", '{"step": 1, "loss": 0.5}'), END)])
    found = [each for each in follow(api.client(), "job-1", {"events": 0, "logs": 0, "steps": 0}) if each]
    assert chunk in found
    assert event(1) in found
    assert MetricsLine("steps", {"step": 1, "loss": 0.5}) in found
    assert len(found) == 3


def test_a_beginning_other_than_the_first_is_asked_for(api):
    list(follow(api.client(), "job-1", {"logs": 17}))
    assert api.requests[0].url.params["offset"] == "17"


def test_a_server_that_stays_away_is_given_up(api):
    api.accidents.extend([httpx.ConnectError("refused")] * 1000)
    with pytest.raises(UnavailableError, match="did not come back"):
        list(follow(api.client(), "job-1", {"events": 0}))
    assert len(api.requests) > 2


def test_a_server_that_is_starting_is_waited_for(api):
    api.accidents.extend([problem(503, "unavailable"), httpx.ConnectError("refused")])
    api.streams["events"] = deque([sse(told(1), END)])
    assert event(1) in list(follow(api.client(), "job-1", {"events": 0}))


@pytest.mark.parametrize(
    ("refusal", "kind"), [(problem(404, "not-found"), NotFoundError), (problem(401, "access"), AccessError)]
)
def test_a_refusal_is_raised_at_once(api, refusal, kind):
    api.accidents.append(refusal)
    with pytest.raises(kind):
        list(follow(api.client(), "job-1", {"events": 0}))
    assert len(api.requests) == 1


def test_leaving_early_ends_the_threads(api):
    import threading

    api.streams["events"] = deque([sse(told(number)) for number in range(1, 500)])
    watched = follow(api.client(), "job-1", {"events": 0})
    next(watched)
    watched.close()
    for thread in threading.enumerate():
        if thread.name == "follow-events":
            thread.join(5)
    assert "follow-events" not in {thread.name for thread in threading.enumerate()}
