import pytest

from quickalign.api.gateway.throttle import Throttle
from quickalign.core.wire.services import Limits
from quickalign.serve.http.errors import ApiError

KEY, OTHER = ("service-one", "service"), ("service-one", "token-2")


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def begin(throttle, key, limits):
    with throttle.admitted(key, limits):
        pass


def test_no_minute_has_more_requests_than_the_limit():
    clock, limits = Clock(), Limits(requests_per_minute=3)
    throttle = Throttle(clock)
    for at in (1000.0, 1010.0, 1050.0):
        clock.now = at
        begin(throttle, KEY, limits)
    clock.now = 1059.0
    with pytest.raises(ApiError) as refused:
        begin(throttle, KEY, limits)
    assert refused.value.status == 429
    assert refused.value.headers["Retry-After"] == "1"
    begin(throttle, OTHER, limits)
    clock.now = 1060.0
    begin(throttle, KEY, limits)
    with pytest.raises(ApiError) as refused:
        begin(throttle, KEY, limits)
    assert refused.value.headers["Retry-After"] == "10"


def test_a_refused_request_does_not_count():
    clock, limits = Clock(), Limits(requests_per_minute=1)
    throttle = Throttle(clock)
    begin(throttle, KEY, limits)
    for second in range(1, 60):
        clock.now = 1000.0 + second
        with pytest.raises(ApiError):
            begin(throttle, KEY, limits)
    clock.now = 1060.0
    begin(throttle, KEY, limits)


def test_a_limit_that_was_lowered_holds_at_once():
    throttle = Throttle(Clock())
    for _ in range(5):
        begin(throttle, KEY, Limits(requests_per_minute=10))
    with pytest.raises(ApiError) as refused:
        begin(throttle, KEY, Limits(requests_per_minute=2))
    assert refused.value.headers["Retry-After"] == "60"


def test_requests_at_once():
    throttle, limits = Throttle(Clock()), Limits(concurrency=2)
    with throttle.admitted(KEY, limits), throttle.admitted(KEY, limits):
        with pytest.raises(ApiError) as refused:
            begin(throttle, KEY, limits)
        assert refused.value.headers["Retry-After"]
        begin(throttle, OTHER, limits)
    begin(throttle, KEY, limits)


def test_tokens_that_come_and_go_leave_nothing():
    clock = Clock()
    throttle = Throttle(clock)
    for number in range(100):
        clock.now += 61
        begin(throttle, ("service", str(number)), Limits(requests_per_minute=5))
    assert len(throttle._uses) == 1


def test_a_limit_reaches_the_client(ask, endpoints, held):
    endpoints.change("one", limits=Limits(concurrency=1))
    with held("hang 1"):
        answer = ask("say 1")
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["error"]["code"] == "rate_limit_exceeded"
    endpoints.change("one", limits=Limits(requests_per_minute=1))
    assert ask("say 1").status_code == 429
