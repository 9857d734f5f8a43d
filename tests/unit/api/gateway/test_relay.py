"""The way of a request: replicas that fail before, in and after an answer, clients that leave, answers as they are."""

import json

import httpx
import pytest

from quickalign.core.wire.services import ServiceState
from tests.support.gateways import END, EVENT, ROLE, WHOLE, reason, wait_for


def error_in(stream):
    events = [line for line in stream.split("\n\n") if line]
    assert events[-1].startswith("data: {"), events
    return json.loads(events[-1].removeprefix("data: "))["error"]


def test_a_stream_passes_untouched(ask):
    answer = ask("say 3")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.content == ROLE + (EVENT % b"x") * 3 + END


def test_an_answer_in_one_piece_passes_untouched(ask):
    answer = ask("whole")
    assert (answer.status_code, answer.content) == (200, WHOLE)
    assert answer.headers["content-length"] == str(len(WHOLE))


def test_what_the_replica_is_told(ask, stubs):
    ask("say 1", headers={"X-Request-ID": "mine-1", "Cookie": "a=b", "X-Other": "c"})
    (request,) = [each for stub in stubs for each in stub.requests]
    headers = request["headers"]
    assert request["line"] == "POST /v1/chat/completions HTTP/1.1"
    assert headers["x-request-id"] == "mine-1"
    assert headers["authorization"].startswith("Bearer token-replica-")
    assert headers["content-type"] == "application/json"
    assert "cookie" not in headers
    assert "x-other" not in headers


@pytest.mark.parametrize("where", ["/services/one", "/services/one/"])
@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ({"messages": [{"role": "user", "content": "say 1"}]}, "/v1/chat/completions"),
        ({"prompt": "say 1", "model": "one"}, "/v1/completions"),
    ],
)
def test_what_pai_s_predict_sends_is_a_chat_or_a_completion(client, service, stubs, where, asked, path):
    headers = {"Authorization": "qs-one"}  # and no Content-Type: the package sends a text
    answer = client.post(where, content=json.dumps(asked), headers=headers)
    assert answer.status_code == 200, answer.text
    (seen,) = [request for stub in stubs for request in stub.requests]
    assert seen["line"] == f"POST {path} HTTP/1.1"
    assert seen["headers"]["content-type"] == "application/json"
    assert json.loads(seen["body"]) == {"model": "default"} | asked


@pytest.mark.parametrize("sent", ["", "[]", '{"input": "Hello"}'])
def test_what_asks_for_nothing_at_the_service_s_address_is_refused(client, service, sent):
    answer = client.post("/services/one", content=sent, headers={"Authorization": "qs-one"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert client.post("/services/one", content=sent).status_code == 401


def test_the_request_id_comes_back(ask):
    assert ask("say 1", headers={"X-Request-ID": "mine-2"}).headers["x-request-id"] == "mine-2"
    assert ask("say 1").headers["x-request-id"].startswith("req-")


def test_a_body_with_the_service_as_model_is_not_touched(ask, stubs):
    raw = b'{ "model":"one",  "messages":[{"role":"user","content":"say 1"}], "seed": 1.50 }'
    answer = ask("say 1", path="/v1/chat/completions", model="one")
    assert answer.status_code == 200
    client = httpx.Client(base_url=str(answer.url.copy_with(path="/")), trust_env=False)
    headers = {"Authorization": "qs-one", "Content-Type": "application/json"}
    assert client.post("/v1/chat/completions", content=raw, headers=headers).status_code == 200
    assert raw in [each["body"] for stub in stubs for each in stub.requests]


def test_the_name_of_a_trained_model_becomes_default(ask, stubs):
    for path in ("/v1/chat/completions", "/services/one/v1/chat/completions"):
        assert ask("say 1", path=path, model="ft:base:q:one:abc").status_code == 200
    asked = [json.loads(each["body"]) for stub in stubs for each in stub.requests]
    assert [each["model"] for each in asked] == ["default", "default"]


def test_replicas_take_turns_and_the_idle_one_is_preferred(ask, stubs, held):
    for _ in range(4):
        ask("say 1")
    assert [len(stub.requests) for stub in stubs] == [2, 2]
    with held("hang 1"):
        before = [len(stub.requests) for stub in stubs]
        for _ in range(4):
            ask("say 1")
        after = [len(stub.requests) - known for stub, known in zip(stubs, before, strict=True)]
        assert sorted(after) == [0, 4]


@pytest.mark.parametrize("order", ["die 2", "cut 2", "end 2"])
def test_a_stream_that_breaks_ends_with_an_error_event(ask, endpoints, order):
    answer = ask(order)
    assert answer.status_code == 200
    assert answer.content.startswith(ROLE + (EVENT % b"x") * 2)
    error = error_in(answer.text)
    assert (error["type"], error["code"]) == ("server_error", "replica_lost")
    assert len(endpoints.suspects) == 1


@pytest.mark.parametrize("order", ["die 0", "cut 0"])
def test_a_replica_that_dies_before_its_first_event_is_replaced(ask, stubs, endpoints, order):
    stubs[0].override = order
    for _ in range(4):
        answer = ask("say 2")
        assert answer.content == ROLE + (EVENT % b"x") * 2 + END
    assert stubs[0].requests
    assert set(endpoints.suspects) == {"replica-0"}


def test_what_brings_two_replicas_down_is_not_given_to_a_third(ask, all_stubs, stubs):
    all_stubs("die 0")
    answer = ask("x")
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "replica_lost"
    assert answer.headers["retry-after"]
    assert [len(stub.requests) for stub in stubs] == [1, 1]


def test_a_replica_that_is_not_there_is_passed_over(ask, stubs, endpoints, service):
    gone = stubs[0].upstream
    endpoints.change("one", replicas=(type(gone)("gone", 1, "http://127.0.0.1:1", "t", 8), stubs[1].upstream))
    for _ in range(2):
        assert ask("say 1").status_code == 200
    endpoints.change("one", replicas=(type(gone)("gone", 1, "http://127.0.0.1:1", "t", 8),))
    answer = ask("say 1")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert "cannot be reached" in answer.json()["error"]["message"]


@pytest.mark.parametrize("status", [429, 503])
def test_a_full_replica_sends_requests_to_another(ask, stubs, status):
    stubs[0].override = f"status {status}"
    assert {ask("say 1").status_code for _ in range(4)} == {200}
    stubs[1].override = f"status {status}"
    answer = ask("say 1")
    assert answer.status_code == status
    assert answer.headers["retry-after"] == "3"


def test_other_refusals_of_the_replica_pass(ask, all_stubs, stubs):
    all_stubs("status 400")
    assert ask("x").status_code == 400
    assert sum(len(stub.requests) for stub in stubs) == 1


def test_a_replica_that_does_not_know_the_gateway_is_broken_not_the_client(ask, all_stubs):
    all_stubs("status 401")
    assert ask("x").status_code == 502


def test_a_client_that_leaves_ends_the_request_upstream(held, stubs, endpoints):
    with held("hang 1"):
        busy = next(stub for stub in stubs if stub.requests)
        assert endpoints.open_requests(busy.name) == 1
    wait_for(lambda: busy.left == [busy.name])
    wait_for(lambda: endpoints.open_requests(busy.name) == 0)
    assert endpoints.suspects == []
    wait_for(lambda: endpoints.metrics("service-one").open_requests == 0)


def test_a_service_without_a_ready_replica_says_why(ask, endpoints):
    endpoints.change("one", replicas=(), state=ServiceState.FAILED, reason=reason("Its model is gone."))
    answer = ask("say 1")
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert "Its model is gone." in answer.json()["error"]["message"]


def test_a_request_wakes_a_service_and_waits_for_it(ask, endpoints, stubs):
    course = iter([ServiceState.STOPPING, ServiceState.STOPPED, ServiceState.PENDING, ServiceState.STARTING])

    def move(service):
        state = next(course, ServiceState.RUNNING)
        ready = (stubs[0].upstream,) if state == ServiceState.RUNNING else ()
        idle = state in (ServiceState.STOPPING, ServiceState.STOPPED)
        endpoints.change("one", replicas=ready, state=state, reason=reason("Idle.", "idle") if idle else None)

    endpoints.on_touch = move
    assert ask("say 1").status_code == 200


def test_the_wait_is_bounded(ask, endpoints):
    endpoints.change("one", replicas=(), state=ServiceState.STARTING)
    answer = ask("say 1")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert set(endpoints.touched) == {"service-one"}


def test_a_service_deleted_while_a_request_waits(ask, endpoints):
    endpoints.change("one", replicas=(), state=ServiceState.STARTING)
    endpoints.on_touch = lambda service: endpoints.routes.pop(service, None)
    assert ask("say 1").status_code == 404


def test_a_server_that_stops_ends_its_streams_with_an_error(held, app):
    with held("hang 1") as rest:
        app.state.gateway.end_answers()
        stream = b"".join(rest).decode()
    assert error_in(stream)["code"] == "shutting_down"
