"""Real replicas of the embedded model behind the gateway, asked by the stock client."""

import asyncio
import itertools
import signal

import openai
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from quickalign.api.app import make_app
from quickalign.platform.services.routes import Upstream
from tests.support.gateways import FakeEndpoints, running, wait_for
from tests.support.platforms import open_stub
from tests.support.replicas import MODEL, running_replica

pytestmark = pytest.mark.slow
ASK = [{"role": "user", "content": "Could you please hurt me?"}]
STREAMS = 6


@pytest.fixture(scope="module")
def replicas():
    flags = ("--model", MODEL, "--name", "tiny", "--no-proof")
    with running_replica(*flags) as first, running_replica(*flags) as second:
        yield first, second


@pytest.fixture(scope="module")
def endpoints(replicas):
    found = FakeEndpoints()
    ready = (Upstream(f"replica-{i}", 1, each.endpoint, "none", 80) for i, each in enumerate(replicas))
    found.add("tiny", *ready, token="qs-tiny", model_names=("tiny", "ft:x"))
    return found


@pytest.fixture(scope="module")
def address(tmp_path_factory, endpoints):
    platform = open_stub(tmp_path_factory.mktemp("real") / "home")
    with running(make_app(platform, endpoints=endpoints)) as found:
        yield found
    platform.close()


def client(address, path="/services/tiny/v1", kind=openai.OpenAI, **settings):
    return kind(base_url=address + path, **{"api_key": "qs-tiny", "max_retries": 0, "timeout": 60} | settings)


def test_the_answer_is_the_replicas(address, replicas):
    direct = replicas[0].client().chat.completions.create(model="tiny", messages=ASK, temperature=0, max_tokens=24)
    for path, model in (("/services/tiny/v1", "default"), ("/v1", "tiny"), ("/v1", "ft:x")):
        through = client(address, path).chat.completions.create(model=model, messages=ASK, temperature=0, max_tokens=24)
        assert through.choices == direct.choices
        assert through.usage == direct.usage
    whole = direct.choices[0].message.content
    stream = client(address).chat.completions.create(
        model="default", messages=ASK, temperature=0, max_tokens=24, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == whole
    assert chunks[-1].usage == direct.usage
    text = client(address).completions.create(model="default", prompt="Hello", max_tokens=4, temperature=0)
    assert text.usage.completion_tokens <= 4


def test_models_and_errors(address):
    asked = client(address)
    assert [each.id for each in asked.models.list()] == ["tiny"]
    assert asked.models.retrieve("default").id == "tiny"
    with pytest.raises(openai.BadRequestError, match="temperature"):
        asked.chat.completions.create(model="default", messages=ASK, temperature=9)
    with pytest.raises(openai.NotFoundError):
        asked.chat.completions.create(model="other", messages=ASK)
    with pytest.raises(openai.AuthenticationError):
        client(address, api_key="wrong").chat.completions.create(model="default", messages=ASK)


def test_generated_requests_meet_no_500(address, replicas):
    document = replicas[0].http().get("/openapi.json").json()
    document["paths"] = {path: each for path, each in document["paths"].items() if path.startswith("/v1/")}
    document.pop("servers", None)
    schema = schemathesis.openapi.from_dict(document)
    seen = 0
    for found, mode in itertools.product(schema.get_all_operations(), GenerationMode):
        operation = found.ok()

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=10, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        def holds(case):
            if isinstance(case.body, dict):
                case.body |= {"max_tokens": 2}
            answer = case.call(f"{address}/services/tiny", headers={"Authorization": "Bearer qs-tiny"})
            assert answer.status_code < 500, answer.text
            assert answer.status_code < 400 or "message" in answer.json()["error"]

        try:
            holds()
        except Unsatisfiable:  # there is nothing that could be wrong about a GET
            continue
        seen += 1
    assert seen == 6


def test_the_asynchronous_client(address):
    async def ask():
        async with client(address, kind=openai.AsyncOpenAI) as asked:
            stream = await asked.chat.completions.create(model="default", messages=ASK, max_tokens=8, stream=True)
            return [chunk async for chunk in stream]

    assert asyncio.run(ask())[-1].choices[0].finish_reason in ("stop", "length")


def test_a_client_that_leaves_frees_the_replica(address, replicas):
    stream = client(address).chat.completions.create(
        model="default", messages=ASK, max_tokens=400, stream=True, extra_body={"ignore_eos": True}
    )
    next(stream)
    stream.close()
    wait_for(lambda: not any(each.open_answers() for each in replicas), 30)


async def _follow(asked, begun):
    """How one stream ended: `whole`, `cut`, or the code of the error that it told."""
    try:
        stream = await asked.chat.completions.create(
            model="default", messages=ASK, max_tokens=400, stream=True, extra_body={"ignore_eos": True}
        )
        finish = None
        async for chunk in stream:
            begun.set()
            finish = chunk.choices[0].finish_reason or finish
        return "whole" if finish else "cut"
    except openai.APIError as error:
        return error.code


def test_a_killed_replica_is_told_to_each_of_its_clients_and_to_no_other(address, replicas, endpoints):
    """Runs last: one of the replicas is gone afterwards."""

    async def kill():
        async with client(address, kind=openai.AsyncOpenAI) as asked:
            begun = [asyncio.Event() for _ in range(STREAMS)]
            streams = [asyncio.create_task(_follow(asked, each)) for each in begun]
            for each in begun:
                await each.wait()
            assert endpoints.open_requests("replica-0") == STREAMS // 2
            replicas[0].process.send_signal(signal.SIGKILL)
            return await asyncio.gather(*streams)

    assert sorted(asyncio.run(kill())) == ["replica_lost"] * (STREAMS // 2) + ["whole"] * (STREAMS // 2)
    assert "replica-0" in endpoints.suspects
    after = client(address).chat.completions.create(model="default", messages=ASK, max_tokens=4)
    assert after.choices[0].finish_reason
