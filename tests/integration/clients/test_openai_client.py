"""The unmodified openai client against a deployed service, through the server's gateway."""

import asyncio

import openai
import pytest

pytestmark = pytest.mark.slow

HELLO = [{"role": "user", "content": "Could you please hurt me?"}]
GREEDY = {"model": "default", "messages": HELLO, "temperature": 0, "max_tokens": 60}


@pytest.fixture
def client(predictor):
    return predictor.openai(max_retries=0)


def test_whole_and_streamed_answers_are_the_same(client):
    whole = client.chat.completions.create(**GREEDY)
    assert whole.choices[0].message.content
    assert whole.choices[0].finish_reason == "stop"
    chunks = list(client.chat.completions.create(**GREEDY, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage


def test_answers_at_once_from_an_asynchronous_client(predictor, client):
    async def ask_all():
        places = {"base_url": f"{predictor.endpoint}/v1", "api_key": predictor.access_token, "max_retries": 0}
        async with openai.AsyncOpenAI(**places) as asynchronous:

            async def whole():
                return (await asynchronous.chat.completions.create(**GREEDY)).choices[0].message.content

            async def streamed():
                stream = await asynchronous.chat.completions.create(**GREEDY, stream=True)
                return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

            return await asyncio.gather(*(call() for _ in range(6) for call in (whole, streamed)))

    alone = client.chat.completions.create(**GREEDY).choices[0].message.content
    assert set(asyncio.run(ask_all())) == {alone}


def test_completions_and_models(predictor, client):
    answer = client.completions.create(model="default", prompt=["I am", "You are"], max_tokens=4, temperature=0)
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert predictor.service_name in [model.id for model in client.models.list()]


def test_all_services_answer_at_the_server_s_own_address_by_their_name(predictor, client):
    place = predictor.session.client.place
    everywhere = openai.OpenAI(base_url=f"{place.endpoint}/v1", api_key=place.token, max_retries=0)
    answer = everywhere.chat.completions.create(**GREEDY | {"model": predictor.service_name})
    assert answer.choices[0].message.content == client.chat.completions.create(**GREEDY).choices[0].message.content
    assert predictor.service_name in [model.id for model in everywhere.models.list()]


@pytest.mark.parametrize(
    ("changes", "kind", "param"),
    [
        ({"messages": []}, openai.BadRequestError, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, openai.BadRequestError, "messages"),
        ({"temperature": -1}, openai.BadRequestError, "temperature"),
        ({"max_tokens": -1}, openai.BadRequestError, "max_tokens"),
        ({"max_tokens": 100_000}, openai.BadRequestError, "max_tokens"),
        ({"extra_body": {"made_up": 1}}, openai.BadRequestError, "made_up"),
        ({"model": "another"}, openai.NotFoundError, "model"),
    ],
    ids=str,
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_are_openai_s_and_name_what_is_at_fault(client, changes, kind, param, stream):
    with pytest.raises(kind) as caught:
        client.chat.completions.create(**GREEDY | changes, stream=stream)
    assert caught.value.message
    assert (caught.value.param or "").startswith(param)


def test_a_wrong_token_and_another_service_s_token_open_nothing(predictor):
    for wrong in ("wrong", "qs-" + "0" * 43):
        with pytest.raises(openai.AuthenticationError):
            predictor.openai(api_key=wrong, max_retries=0).models.list()
