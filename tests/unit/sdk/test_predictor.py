"""Predictors against a service over real HTTP: requests, answers, errors, and the stock client."""

import io
import sys

import openai
import pytest

from quickalign.core.errors import OptionError, UnavailableError
from quickalign.exception import PredictionException
from quickalign.predictor import Predictor, RawResponse
from quickalign.sdk.session import Session
from quickalign.serializers import BytesSerializer, JsonSerializer
from tests.support.echo_service import echo_service
from tests.support.fake_api import TOKEN
from tests.support.fake_services import service

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def echo():
    with echo_service() as running:
        yield running


@pytest.fixture
def predictor(api, remote, echo):
    """A predictor whose service is at `echo`, as its server says."""
    api.services.add(service("first"))
    return Predictor("first", session=Session(endpoint=echo.endpoint, token=TOKEN))


def test_predict_sends_a_chat_to_the_chats_and_a_prompt_to_the_completions(echo, predictor):
    answer = predictor.predict({"messages": HELLO})
    assert answer["choices"][0]["message"]["content"] == "You said: Hello"
    predictor.predict('{"prompt": "I am", "model": "first"}')
    chat, completion = echo.requests
    assert chat[:2] == ("POST", "/services/first/v1/chat/completions")
    assert chat[2]["authorization"] == "Bearer qs-1"
    assert chat[2]["content-type"] == "application/json"
    assert chat[3] == {"model": "default", "messages": HELLO}
    assert completion[1] == "/services/first/v1/completions"
    assert completion[3] == {"prompt": "I am", "model": "first"}


@pytest.mark.parametrize("data", ["Hello", {"text": "Hello"}, ["Hello"], {"messages": HELLO, "stream": True}])
def test_predict_refuses_what_is_neither(echo, predictor, data):
    with pytest.raises(OptionError, match=r"messages|stream"):
        predictor.predict(data)
    assert echo.requests == []


def test_a_serializer_of_one_s_own(api, predictor):
    predictor.serializer = BytesSerializer()
    answer = predictor.predict({"messages": HELLO})
    assert isinstance(answer, bytes)
    assert b"You said: Hello" in answer


def test_raw_predict_sends_what_it_is_given(echo, predictor):
    answer = predictor.raw_predict(method="GET", path="/v1/models", params={"a": 1}, headers={"X-Mine": "yes"})
    assert isinstance(answer, RawResponse)
    assert answer.status_code == 200
    assert answer.json()["path"] == "/services/first/v1/models?a=1"
    assert echo.requests[0][2]["x-mine"] == "yes"
    for data in ("text", b"text", io.BytesIO(b"text")):
        assert predictor.raw_predict(data, path="v1/x", timeout=(5.0, 5.0)).json()["body"] == "text"
    predictor.raw_predict({"messages": HELLO})
    assert echo.requests[-1][1] == "/services/first"
    with pytest.raises(OptionError, match="no argument 'stream'"):
        predictor.raw_predict({}, stream=True)


def test_an_error_of_the_service_is_told_with_its_status_and_sentence(predictor):
    with pytest.raises(PredictionException, match="There is no room") as caught:
        predictor.predict({"messages": [{"role": "user", "content": "refuse"}]})
    assert caught.value.code == 400


def test_a_service_that_is_gone_is_told(api, predictor, echo):
    predictor.session.client._place = type(predictor.session.client._place)("http://127.0.0.1:9", TOKEN)
    with pytest.raises(UnavailableError, match="Nobody listens"):
        predictor.predict({"messages": HELLO})


def test_the_stock_client_is_pointed_at_the_service(echo, predictor, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    client = predictor.openai(max_retries=0)
    assert type(client) is openai.OpenAI
    answer = client.chat.completions.create(model="default", messages=HELLO)
    assert answer.choices[0].message.content == "You said: Hello"
    assert echo.requests[0][1] == "/services/first/v1/chat/completions"
    assert echo.requests[0][2]["authorization"] == "Bearer qs-1"
    assert predictor.openai(url_suffix="/v2/").base_url.path == "/services/first/v2/"
    assert predictor.openai(base_url="http://other", api_key="k").api_key == "k"


def test_without_the_stock_client_a_sentence_says_what_to_do(predictor, monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(UnavailableError, match="pip install openai"):
        predictor.openai()


def test_serializers():
    assert JsonSerializer().serialize('{"a": 1}') == b'{"a": 1}'
    assert JsonSerializer().serialize({"a": [1]}) == b'{"a": [1]}'
    import numpy as np

    assert JsonSerializer().serialize(np.array([[1, 2]])) == b"[[1, 2]]"
    assert JsonSerializer().deserialize(b'{"a": 1}') == {"a": 1}
    assert [BytesSerializer().serialize(value) for value in (b"x", "x", ["x"], 1)] == [b"x", b"x", b'["x"]', b"1"]
