"""Whatever a body holds, the answer is a 4xx in OpenAI's form or a whole answer: never a 500."""

import json
from typing import Any

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.replicas import MODEL, RunningReplica

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
NAMES = [
    "n",
    "stop",
    "seed",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "logit_bias",
    "stream",
    "stream_options",
    "logprobs",
    "top_logprobs",
    "echo",
    "max_tokens",
    "max_completion_tokens",
    "ignore_eos",
    "return_token_ids",
    "tools",
    "tool_choice",
    "response_format",
    "user",
    "best_of",
    "suffix",
    "prompt",
    "messages",
    "model",
]
NUMBERS = st.sampled_from([-1, 0, 1, 2, 0.5, 1e308, -1e308, 10**30, 2**63, True, "1", None, float("nan")])
CHANGES = st.dictionaries(st.sampled_from(NAMES), NUMBERS | JSON, max_size=4)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "system", "assistant", "tool", ""]), "content": st.text(max_size=30) | JSON}
    )
    | JSON,
    max_size=3,
)
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def check(replica: RunningReplica, path: str, content: bytes) -> httpx.Response:
    with replica.http() as http:
        response = http.post(path, content=content, headers={"Content-Type": "application/json"})
    assert response.status_code < 500, (content, response.text)
    if response.headers["content-type"].startswith("text/event-stream"):
        assert response.text.endswith("data: [DONE]\n\n"), (content, response.text[-300:])
    elif response.status_code != 200:
        error = response.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["message"]
    return response


@FUZZ
@given(messages=MESSAGES, changes=CHANGES)
def test_chats(replica: RunningReplica, messages: list[Any], changes: dict[str, Any]) -> None:
    body = {"model": MODEL, "messages": messages, "max_tokens": 2} | changes
    check(replica, "/v1/chat/completions", json.dumps(body).encode("utf-8", "surrogatepass"))


@FUZZ
@given(prompt=JSON | st.lists(st.integers(-5, 6000), max_size=5), changes=CHANGES)
def test_completions(replica: RunningReplica, prompt: Any, changes: dict[str, Any]) -> None:
    body = {"model": MODEL, "prompt": prompt, "max_tokens": 2} | changes
    check(replica, "/v1/completions", json.dumps(body).encode("utf-8", "surrogatepass"))


@FUZZ
@given(content=st.binary(max_size=60))
def test_bytes(replica: RunningReplica, content: bytes) -> None:
    assert 400 <= check(replica, "/v1/chat/completions", content).status_code < 500


def test_particular_bodies(replica: RunningReplica) -> None:
    for content in (
        b'{"model":"default","messages":[{"role":"user","content":"\\ud800"}]}',
        b"[" * 100_000,
        b'{"model":"default","messages":[{"role":"user","content":"' + b"\\u0000" * 10 + b'"}],"max_tokens":2}',
        b'{"model":"default","prompt":[[]],"max_tokens":2}',
        b'{"model":"default","prompt":"","max_tokens":2}',
        b'{"model":"default","prompt":[1,[2]],"max_tokens":2}',
        b'{"model":"default","prompt":[true],"max_tokens":2}',
        b'{"model":"default","messages":[{"role":"user","content":"x"}],"max_tokens":NaN}',
        b"",
        b"null",
    ):
        check(replica, "/v1/chat/completions", content)
        check(replica, "/v1/completions", content)
    with replica.http() as http:
        assert (
            http.post("/v1/chat/completions", content=b"{}", headers={"Content-Type": "text/plain"}).status_code == 415
        )
        large = http.post(
            "/v1/chat/completions", content=b" " * (33 << 20), headers={"Content-Type": "application/json"}
        )
        assert large.status_code == 413
    assert replica.process.poll() is None
    assert replica.open_answers() == 0
