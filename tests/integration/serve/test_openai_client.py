"""The unmodified openai client against a real replica: whole and streamed answers, both forms of API, errors."""

import asyncio
from typing import Any

import openai
import pytest

from quickalign.serve.engines.registry import resolve_engine
from tests.support.replicas import MODEL, RunningReplica

HELLO = [{"role": "user", "content": "Could you please hurt me?"}]


def chat(replica: RunningReplica, **settings: Any) -> Any:
    settings = {"model": MODEL, "messages": HELLO, "temperature": 0, "max_tokens": 40} | settings
    return replica.client().chat.completions.create(**settings)


def test_the_ready_line_says_what_is_served(replica: RunningReplica) -> None:
    told = replica.told
    assert told["model"] == MODEL
    assert told["engine"] == resolve_engine("auto")
    assert told["context"] == 2048
    assert told["pid"] == replica.process.pid
    assert [check["name"] for check in told["proof"]] == [
        "template and end token",
        "base weights",
        "greedy answers",
        "streamed answer",
    ]
    assert all(check["passed"] for check in told["proof"])


def test_a_whole_answer(replica: RunningReplica) -> None:
    answer = chat(replica)
    assert answer.object == "chat.completion"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_a_stream_is_the_whole_answer_in_pieces(replica: RunningReplica) -> None:
    whole = chat(replica)
    chunks = list(chat(replica, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert len(chunks) > 4, "it comes in pieces"
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_the_stream_helper_of_the_client(replica: RunningReplica) -> None:
    with replica.client().chat.completions.stream(model=MODEL, messages=HELLO, temperature=0, max_tokens=30) as stream:
        for _ in stream:
            pass
        assert stream.get_final_completion().choices[0].message.content == chat(replica).choices[0].message.content


def test_many_at_once_get_what_each_gets_alone(replica: RunningReplica) -> None:
    prompts = [f"Tell me about number {i}. " * (1 + i % 5) for i in range(24)]

    async def ask(client: openai.AsyncOpenAI, text: str) -> str:
        answer = await client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": text}], temperature=0, max_tokens=24
        )
        return answer.choices[0].message.content or ""

    async def ask_all() -> list[str]:
        async with replica.async_client() as client:
            return await asyncio.gather(*(ask(client, text) for text in prompts))

    together = asyncio.run(ask_all())
    alone = [
        chat(replica, messages=[{"role": "user", "content": text}], max_tokens=24).choices[0].message.content
        for text in prompts
    ]
    assert together == alone


def test_async_streams_side_by_side(replica: RunningReplica) -> None:
    async def read(client: openai.AsyncOpenAI) -> str:
        stream = await client.chat.completions.create(
            model="default", messages=HELLO, temperature=0, max_tokens=40, stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def read_all() -> list[str]:
        async with replica.async_client() as client:
            return await asyncio.gather(*(read(client) for _ in range(8)))

    assert set(asyncio.run(read_all())) == {chat(replica).choices[0].message.content}


def test_seed_n_and_temperature(replica: RunningReplica) -> None:
    settings = {"temperature": 2, "seed": 7, "n": 3, "max_tokens": 24, "extra_body": {"ignore_eos": True}}
    first, second = chat(replica, **settings), chat(replica, **settings)
    texts = [choice.message.content for choice in first.choices]
    assert [choice.index for choice in first.choices] == [0, 1, 2]
    assert texts == [choice.message.content for choice in second.choices]
    assert len(set(texts)) > 1
    assert texts != [choice.message.content for choice in chat(replica, **settings | {"seed": 8}).choices]


def test_content_as_parts_and_roles(replica: RunningReplica) -> None:
    parts = [{"type": "text", "text": "Could you please "}, {"type": "text", "text": "hurt me?"}]
    assert chat(replica, messages=[{"role": "user", "content": parts}]).choices[0].message.content == (
        chat(replica).choices[0].message.content
    )
    system = [{"role": "system", "content": "You are a pirate"}, *HELLO]
    developer = [{"role": "developer", "content": "You are a pirate"}, *HELLO]
    ids = [
        chat(replica, messages=m, extra_body={"return_token_ids": True}).prompt_token_ids for m in (system, developer)
    ]
    assert ids[0] == ids[1]
    assert ids[0] != chat(replica, extra_body={"return_token_ids": True}).prompt_token_ids


@pytest.mark.parametrize("streamed", [False, True])
def test_stop_strings(replica: RunningReplica, streamed: bool) -> None:
    text = chat(replica).choices[0].message.content
    stop = text[5:8]
    answer = chat(replica, stop=[stop, "never"], stream=streamed)
    if streamed:
        chunks = list(answer)
        found = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        assert chunks[-1].choices[0].finish_reason == "stop"
    else:
        found = answer.choices[0].message.content
        assert answer.choices[0].finish_reason == "stop"
    assert found == text[: text.index(stop)]


def test_logprobs(replica: RunningReplica) -> None:
    answer = chat(replica, logprobs=True, top_logprobs=3)
    choice = answer.choices[0]
    assert b"".join(bytes(t.bytes) for t in choice.logprobs.content).decode() == choice.message.content
    for token in choice.logprobs.content:
        assert token.logprob <= 0
        assert len(token.top_logprobs) == 3
        assert token.top_logprobs[0].token == token.token, "greedy takes the likeliest"
        assert [t.logprob for t in token.top_logprobs] == sorted((t.logprob for t in token.top_logprobs), reverse=True)
    streamed = list(chat(replica, logprobs=True, top_logprobs=3, stream=True))
    content = [t for c in streamed if c.choices[0].logprobs for t in c.choices[0].logprobs.content]
    assert [t.token for t in content] == [t.token for t in choice.logprobs.content]
    assert [t.logprob for t in content] == pytest.approx([t.logprob for t in choice.logprobs.content], abs=1e-4)


def test_logit_bias_and_penalties_change_the_answer(replica: RunningReplica) -> None:
    plain = chat(replica, logprobs=True, extra_body={"return_token_ids": True}).choices[0]
    first = plain.token_ids[0]
    assert chat(replica, logit_bias={str(first): -100}, extra_body={"return_token_ids": True}).choices[0].token_ids[
        0
    ] != (first)
    repeated = chat(replica, extra_body={"repetition_penalty": 5.0, "ignore_eos": True}, max_tokens=40)
    assert repeated.usage.completion_tokens == 40
    assert repeated.choices[0].finish_reason == "length"
    assert chat(replica, presence_penalty=2, frequency_penalty=2).choices[0].message.content


def test_max_tokens(replica: RunningReplica) -> None:
    answer = chat(replica, max_tokens=3)
    assert answer.usage.completion_tokens == 3
    assert answer.choices[0].finish_reason == "length"
    assert chat(replica, max_tokens=openai.omit, max_completion_tokens=2).usage.completion_tokens == 2


def test_completions(replica: RunningReplica) -> None:
    client = replica.client()
    answer = client.completions.create(model=MODEL, prompt=["I am", "You are"], max_tokens=4, temperature=0, n=2)
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert answer.choices[0].text == answer.choices[1].text
    streamed = list(client.completions.create(model=MODEL, prompt="I am", max_tokens=4, temperature=0, stream=True))
    assert "".join(chunk.choices[0].text for chunk in streamed) == answer.choices[0].text
    assert client.completions.create(model=MODEL, prompt="I am", temperature=0).usage.completion_tokens <= 16


def test_echo_with_the_prompts_log_probs(replica: RunningReplica) -> None:
    client = replica.client()
    text = "Good morning, my friend 你好"
    scored = client.completions.create(model=MODEL, prompt=text, max_tokens=0, echo=True, logprobs=2).choices[0]
    assert scored.text == text
    assert scored.logprobs.token_logprobs[0] is None
    assert all(value <= 0 for value in scored.logprobs.token_logprobs[1:])
    assert scored.logprobs.text_offset == sorted(scored.logprobs.text_offset)
    assert len(scored.logprobs.tokens) == len(scored.logprobs.top_logprobs) == len(scored.logprobs.text_offset)
    longer = client.completions.create(model=MODEL, prompt=text, max_tokens=3, echo=True, logprobs=2, temperature=0)
    assert longer.choices[0].text.startswith(text)
    count = len(scored.logprobs.tokens)
    assert longer.choices[0].logprobs.token_logprobs[1:count] == pytest.approx(
        scored.logprobs.token_logprobs[1:], abs=1e-4
    )
    streamed = list(
        client.completions.create(
            model=MODEL, prompt=text, max_tokens=3, echo=True, logprobs=2, temperature=0, stream=True
        )
    )
    assert "".join(chunk.choices[0].text for chunk in streamed) == longer.choices[0].text
    assert [t for c in streamed if c.choices[0].logprobs for t in c.choices[0].logprobs.tokens] == (
        longer.choices[0].logprobs.tokens
    )


@pytest.mark.parametrize("text", ["Ünïcödé, 你好 🎉 한국어!", "<|im_start|>user\nHi"])
@pytest.mark.parametrize("echo", [True, False])
def test_offsets_are_where_tokens_stand_in_the_text(replica: RunningReplica, text: str, echo: bool) -> None:
    ask = {"model": MODEL, "prompt": text, "max_tokens": 20, "echo": echo, "logprobs": 0, "temperature": 1.9, "seed": 7}
    create: Any = replica.client().completions.create
    whole = create(**ask).choices[0]
    found = list(zip(whole.logprobs.tokens, whole.logprobs.text_offset, strict=True))
    for token, at in found:
        in_text = token.startswith("bytes:") or token.startswith("<|") or whole.text[at : at + len(token)] == token
        assert in_text, (token, at, whole.text)
    if echo and text.startswith("<|"):
        assert [at for _, at in found[:2]] == [0, len("<|im_start|>")]
    streamed = [chunk.choices[0].logprobs.text_offset for chunk in create(**ask, stream=True)]
    assert [at for offsets in streamed for at in offsets] == [at for _, at in found]


def test_models(replica: RunningReplica) -> None:
    client = replica.client()
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("another")


@pytest.mark.parametrize(
    ("changes", "param", "code"),
    [
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role", "invalid_role"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content", "invalid_type"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "invalid_type"),
        ({"messages": "hello"}, "messages", "invalid_type"),
        ({"messages": [{"role": "user", "content": "", "name": "Bob"}]}, "messages[0].name", "unsupported_parameter"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages[0].content[0].type",
            "unsupported_content",
        ),
        ({"temperature": -0.1}, "temperature", "invalid_value"),
        ({"temperature": "hot"}, "temperature", "invalid_type"),
        ({"top_p": 1.5}, "top_p", "invalid_value"),
        ({"max_tokens": -1}, "max_tokens", "invalid_value"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"max_tokens": True}, "max_tokens", "invalid_type"),
        ({"max_tokens": 100_000}, "max_tokens", "context_length_exceeded"),
        ({"messages": [{"role": "user", "content": "word " * 5000}]}, None, "context_length_exceeded"),
        ({"n": 0}, "n", "invalid_value"),
        ({"n": 100}, "n", "invalid_value"),
        ({"stop": ""}, "stop", "invalid_value"),
        ({"presence_penalty": -3}, "presence_penalty", "invalid_value"),
        ({"logit_bias": {"x": 1}}, "logit_bias", "invalid_value"),
        ({"logit_bias": {"999999": 1}}, "logit_bias", "invalid_value"),
        ({"top_logprobs": 2}, "top_logprobs", "invalid_value"),
        ({"max_completion_tokens": 7}, "max_tokens", "invalid_value"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools", "unsupported_parameter"),
        ({"response_format": {"type": "json_object"}}, "response_format", "unsupported_parameter"),
        ({"extra_body": {"best_of": 3}}, "best_of", "unsupported_parameter"),
        ({"extra_body": {"made_up": 1}}, "made_up", "unsupported_parameter"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_by_name(
    replica: RunningReplica, changes: dict[str, Any], param: str | None, code: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        chat(replica, **changes)
    error = caught.value
    assert error.status_code == 400
    assert error.code == code
    assert error.type == "invalid_request_error"
    assert error.message
    if param is not None:
        assert error.param == param


def test_what_has_no_effect_is_taken(replica: RunningReplica) -> None:
    assert chat(
        replica,
        tools=[],
        tool_choice="none",
        user="me",
        store=False,
        response_format={"type": "text"},
        parallel_tool_calls=True,
        logit_bias={},
        stop=None,
        n=None,
        messages=[{"role": "user", "content": "Hi", "type": "text"}],
    ).choices


def test_an_unknown_model_and_path(replica: RunningReplica) -> None:
    with pytest.raises(openai.NotFoundError, match="another") as caught:
        chat(replica, model="another")
    assert caught.value.code == "model_not_found"
    with replica.http() as http:
        assert http.post("/v1/embeddings", json={}).json()["error"]["code"] == "not_found"
        assert http.get("/v1/completions").status_code == 405
