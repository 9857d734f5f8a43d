"""What a request's parameters may be, and the generations that they become."""

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, NoReturn

import httpx
import pytest
import torch
from starlette.testclient import TestClient

from quickalign.serve.engine import EngineBusyError, EngineInfo, Generation
from quickalign.serve.engines.vllm.messages import LEAST_TEMPERATURE
from quickalign.serve.http.app import make_app
from quickalign.serve.http.body import ChatBody, CompletionBody, parse
from quickalign.serve.http.errors import ApiError
from quickalign.serve.http.replica import Replica
from quickalign.serve.http.requests import make_generations
from quickalign.serve.sampling import Sampler

INFO = EngineInfo("transformers", "cpu", "fp32", 512, 160, (1,), 8, "none", 0)
ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "x"}]}


def generation(info: EngineInfo = INFO, **values: Any) -> Generation:
    body = parse(ChatBody, json.dumps(ASK | values).encode())
    [one] = make_generations(body, [[1, 2, 3]], info, frozenset())
    return one


def busy(generations: Any) -> NoReturn:
    raise EngineBusyError("All are at work.", 1)


def refused(info: EngineInfo = INFO, **values: Any) -> str:
    with pytest.raises(ApiError) as error:
        generation(info, **values)
    assert (error.value.status, error.value.param) == (400, next(iter(values)))
    return error.value.message


@pytest.mark.parametrize(
    "values",
    [
        {"web_search_options": {}},
        {"guided_json": {}},
        {"response_format": {}},
        {"tools": [{}]},
        {"tool_choice": "required"},
        {"parallel_tool_calls": 1},
        {"Temperature": 1},
        {"chat_template_kwargs": {"enable_thinking": False}},
    ],
)
def test_what_would_be_ignored_is_refused(values: dict[str, Any]) -> None:
    assert "not supported" in refused(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"tools": []},
        {"tool_choice": "none"},
        {"parallel_tool_calls": False},
        {"response_format": {"type": "text"}},
        {"chat_template_kwargs": {}},
        {"web_search_options": None},
        {"stream": True, "stream_options": {"include_obfuscation": False}},
    ],
)
def test_what_happens_anyway_may_be_said(values: dict[str, Any]) -> None:
    assert generation(**values).prompt == (1, 2, 3)


@pytest.mark.parametrize("prompt", [None, 5, {}, True])
def test_a_prompt_of_another_type_is_named_as_it_is_asked(prompt: Any) -> None:
    with pytest.raises(ApiError, match="prompt: must be a text, a list of texts, or token ids") as error:
        parse(CompletionBody, json.dumps({"model": "m", "prompt": prompt}).encode())
    assert error.value.param == "prompt"


@pytest.mark.parametrize("penalty", [1e-300, 1e-40, 0.0099, 0, 10.1])
def test_a_repetition_penalty_that_cannot_be_computed_is_refused(penalty: float) -> None:
    refused(repetition_penalty=penalty)


@pytest.mark.parametrize("temperature", [0, 1e-300, 2])
@pytest.mark.parametrize("penalty", [0.01, 10])
def test_extremes_take_the_token_that_exact_numbers_take(penalty: float, temperature: float) -> None:
    """Drawn from with `top_k=1`: the likeliest, as Python's own numbers have it, of logits as large as fp16 has them."""
    logits = [-6e4, 3.0, 5.9e4, 6e4, 5.0]
    how = generation(repetition_penalty=penalty, temperature=temperature, top_k=1).sampling
    seen = [0, 2]
    exact = [x if i not in seen else x / penalty if x > 0 else x * penalty for i, x in enumerate(logits)]
    assert Sampler(how, seen, 0).choose(torch.tensor(logits)).token == exact.index(max(exact))


def test_a_temperature_that_the_engine_does_not_draw_with_is_refused() -> None:
    vllm = replace(INFO, engine="vllm", least_temperature=LEAST_TEMPERATURE)
    assert "engine=vllm" in refused(vllm, temperature=0.001)
    assert generation(vllm, temperature=0.01).sampling.temperature == 0.01
    assert generation(vllm, temperature=0).sampling.temperature == 0
    assert generation(temperature=0.001).sampling.temperature == 0.001


@pytest.mark.parametrize("name", ["05", "+5", "5.0", "", "160", "-1", "\N{SUPERSCRIPT FIVE}", "1" * 5000])
def test_a_bias_names_a_token_in_one_way(name: str) -> None:
    refused(logit_bias={name: 1})
    assert generation(logit_bias={"5": 1, "0": 2}).sampling.bias == ((5, 1), (0, 2))


def asked(path: str, **body: Any) -> tuple[httpx.Response, list[Any]]:
    """The answer of a replica whose engine is busy, and what was encoded before."""
    read: list[Any] = []

    def encode(given: Any) -> list[int]:
        read.append(given)
        return [1]

    prompts = SimpleNamespace(text=encode, chat=encode, end_tokens=frozenset, tokenizer=None)
    engine = SimpleNamespace(info=INFO, capacity=8, submit=busy)
    uncounted = SimpleNamespace(request=lambda path, status: None)
    replica = Replica(engine, prompts, "m", uncounted, 0)  # type: ignore[arg-type]
    app = make_app(replica, tokens=(), host="127.0.0.1")
    with TestClient(app, base_url="http://127.0.0.1") as client:
        return client.post(path, json={"model": "m"} | body), read


@pytest.mark.parametrize(
    ("prompt", "n", "status"),
    [(["a"] * 9, 1, 400), ([[5]] * 3, 3, 400), (["a"] * 100_000, 1, 400), (["a"] * 8, 1, 429)],
)
def test_what_is_never_taken_at_once_is_refused_before_it_is_read(prompt: list[Any], n: int, status: int) -> None:
    """429 tells clients to ask again, and they do."""
    answer, read = asked("/v1/completions", prompt=prompt, n=n)
    assert answer.status_code == status, answer.text
    assert bool(read) is (status == 429)


@pytest.mark.parametrize(("more", "code"), [(0, "rate_limit_exceeded"), (1, "context_length_exceeded")])
def test_a_chat_of_more_messages_than_tokens_is_refused_before_it_is_read(more: int, code: str) -> None:
    answer, read = asked("/v1/chat/completions", messages=ASK["messages"] * (INFO.context + more))
    assert answer.json()["error"]["code"] == code
    assert bool(read) is (more == 0)
