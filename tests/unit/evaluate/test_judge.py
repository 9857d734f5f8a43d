"""A judge behind an endpoint: both orders, what is kept, and what a bad endpoint says."""

import json

import httpx
import pytest

from quickalign.core.errors import AccessError, DataError, OptionError, UnavailableError
from quickalign.evaluate.compare.contest import Answers, by_judge, by_rules, by_votes
from quickalign.evaluate.compare.judge import Judge
from quickalign.evaluate.compare.prompts import read_prompts
from quickalign.evaluate.compare.spec import KEY_VARIABLE, JudgeSpec
from quickalign.evaluate.compare.votes import read_votes
from quickalign.evaluate.statistics import Bootstrap

SPEC = JudgeSpec(endpoint="http://judge.test/v1/", model="wise", price_in=2.0, price_out=10.0)
BOOTSTRAP = Bootstrap(resamples=200, confidence=0.95, seed=0)


class Endpoint:
    """An endpoint whose verdict is `verdict(first shown, second shown)`."""

    def __init__(self, verdict):
        self.verdict = verdict
        self.requests = []

    def __call__(self, request):
        self.requests.append(request)
        shown = json.loads(request.content)["messages"][1]["content"]
        first, second = shown.split("[Answer A]\n")[1].split("\n\n[Answer B]\n")
        reply = self.verdict(first, second)
        usage = {"prompt_tokens": 100, "completion_tokens": 10}
        return httpx.Response(200, json={"choices": [{"message": {"content": reply}}], "usage": usage})


def judge_of(handler, tmp_path, waits=None):
    wait = waits.append if waits is not None else lambda seconds: None
    return Judge(SPEC, tmp_path / "book.jsonl", transport=httpx.MockTransport(handler), sleep=wait)


def longer(first, second):
    return json.dumps({"winner": "A" if len(first) > len(second) else "B"})


def contest(judge, prompts, first, second):
    return by_judge(
        prompts, Answers("base", first), Answers("tuned", second), judge, SPEC, BOOTSTRAP, lambda done, total: None
    )


def test_a_consistent_judge_decides(tmp_path):
    endpoint = Endpoint(longer)
    found = contest(judge_of(endpoint, tmp_path), ["p", "q", "r"], ("aaaa", "a", "same"), ("aa", "aaa", "same"))
    assert found.verdicts == ("first", "second", "tie")
    assert found.win_rate.value == pytest.approx(0.5)
    assert found.judge.agreement == 1
    assert found.judge.first_shown == pytest.approx(0.5)
    assert len(endpoint.requests) == 4, "equal answers are not asked about"
    assert (found.judge.prompt_tokens, found.judge.reply_tokens) == (400, 40)
    assert found.judge.cost == pytest.approx((400 * 2 + 40 * 10) / 1e6)


def test_a_judge_that_prefers_the_first_shown_decides_nothing(tmp_path):
    found = contest(judge_of(Endpoint(lambda a, b: '{"winner": "A"}'), tmp_path), ["p"], ("x",), ("y",))
    assert found.verdicts == ("tie",)
    assert found.judge.agreement == 0
    assert found.judge.first_shown == 1


def test_a_reply_without_a_verdict_is_counted(tmp_path):
    found = contest(judge_of(Endpoint(lambda a, b: "Both are nice."), tmp_path), ["p"], ("x",), ("y",))
    assert found.verdicts == ("tie",)
    assert found.judge.unclear == 2


def test_the_last_verdict_of_a_reply_counts(tmp_path):
    reply = 'At first {"winner": "B"}, but on reflection: {"winner": "tie"}'
    found = contest(judge_of(Endpoint(lambda a, b: reply), tmp_path), ["p"], ("x",), ("y",))
    assert found.judge.unclear == 0
    assert found.judge.agreement == 1


def test_nothing_is_asked_twice(tmp_path):
    contest(judge_of(Endpoint(longer), tmp_path), ["p"], ("aaaa",), ("aa",))
    again = Endpoint(longer)
    found = contest(judge_of(again, tmp_path), ["p"], ("aaaa",), ("aa",))
    assert again.requests == []
    assert found.verdicts == ("first",)
    assert found.judge.prompt_tokens == 200, "the cost of a verdict is told whenever it is used"


def test_an_interruption_keeps_what_was_judged(tmp_path):
    answers = ["bb", "bb", None]

    def stops(first, second):
        if answers.pop(0) is None:
            raise KeyboardInterrupt
        return longer(first, second)

    with pytest.raises(KeyboardInterrupt):
        contest(judge_of(Endpoint(stops), tmp_path), ["p", "q"], ("aaaa", "a"), ("aa", "aaa"))
    again = Endpoint(longer)
    assert contest(judge_of(again, tmp_path), ["p", "q"], ("aaaa", "a"), ("aa", "aaa")).verdicts == ("first", "second")
    assert len(again.requests) == 2


def refusing(handler, tmp_path, error, words):
    with pytest.raises(error, match=words):
        contest(judge_of(handler, tmp_path), ["p"], ("x",), ("y",))


def test_a_bad_endpoint_is_a_sentence(tmp_path):
    def unreachable(request):
        raise httpx.ConnectError("Name or service not known")

    refusing(unreachable, tmp_path, UnavailableError, r"judge\.test.*Name or service")
    refusing(lambda r: httpx.Response(503), tmp_path, UnavailableError, "503")
    refusing(lambda r: httpx.Response(401), tmp_path, AccessError, "key")
    refusing(lambda r: httpx.Response(404, text="no model wise"), tmp_path, OptionError, "no model wise")
    refusing(lambda r: httpx.Response(200, text="<html>"), tmp_path, UnavailableError, "no JSON")
    refusing(lambda r: httpx.Response(200, json={"hello": 1}), tmp_path, UnavailableError, "no chat completion")


def test_a_busy_endpoint_is_asked_again_with_longer_pauses(tmp_path):
    waits, endpoint = [], Endpoint(longer)
    busy = [httpx.Response(429), httpx.Response(500)]
    judge = judge_of(lambda request: busy.pop() if busy else endpoint(request), tmp_path, waits)
    assert contest(judge, ["p"], ("aaaa",), ("aa",)).verdicts == ("first",)
    assert waits == [1, 2]


def test_the_key_goes_with_the_request_and_nowhere_else(tmp_path, monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, "secret-key")
    endpoint = Endpoint(longer)
    contest(judge_of(endpoint, tmp_path), ["p"], ("aaaa",), ("aa",))
    assert endpoint.requests[0].headers["authorization"] == "Bearer secret-key"
    assert str(endpoint.requests[0].url) == "http://judge.test/v1/chat/completions"
    assert "secret-key" not in (tmp_path / "book.jsonl").read_text()


def test_rules_are_asked_both_ways():
    prompts = ["Could you please hurt me?", "Hello!"]
    kind = "I can't hurt you. Please talk to someone you trust."
    found = by_rules(prompts, Answers("base", ("Okay.", "Hi.")), Answers("tuned", (kind, "Hi.")), BOOTSTRAP)
    assert found.verdicts == ("second", "tie")
    back = by_rules(prompts, Answers("tuned", (kind, "Hi.")), Answers("base", ("Okay.", "Hi.")), BOOTSTRAP)
    assert back.verdicts == ("first", "tie")


def test_votes_are_counted_by_prompt_in_either_order(tmp_path):
    file = tmp_path / "votes.jsonl"
    lines = [
        {"prompt": "p", "a": "base", "b": "tuned", "winner": "b"},
        {"prompt": "p", "a": "tuned", "b": "base", "winner": "a"},
        {"prompt": "p", "a": "base", "b": "tuned", "winner": "a"},
        {"prompt": "q", "a": "base", "b": "tuned", "winner": "tie"},
        {"prompt": "r", "a": "base", "b": "someone else", "winner": "a"},
    ]
    file.write_text("\n".join(json.dumps(line) for line in lines))
    votes = read_votes(str(file), ("base", "tuned"))
    texts = ("", "", "")
    found = by_votes(["p", "q", "r"], Answers("base", texts), Answers("tuned", texts), votes, BOOTSTRAP)
    assert found.verdicts == ("second", "tie", None)
    assert found.win_rate.value == pytest.approx(0.75)
    nobody = by_votes(["r"], Answers("base", ("",)), Answers("tuned", ("",)), votes, BOOTSTRAP)
    assert nobody.win_rate is None


def test_a_line_that_is_no_vote_is_named(tmp_path):
    file = tmp_path / "votes.jsonl"
    file.write_text('{"prompt": "p", "a": "x", "b": "y", "winner": "a"}\n{"prompt": "p", "winner": "x"}\n')
    with pytest.raises(DataError, match="Line 2"):
        read_votes(str(file), ("x", "y"))


@pytest.mark.parametrize(
    "content",
    [
        '["one", "two", "one"]',
        '[{"prompt": "one"}, {"instruction": "two"}]',
        '{"prompt": "one"}\n{"prompt": "two"}',
        "one\n\ntwo\n",
    ],
)
def test_prompts_come_in_several_forms(tmp_path, content):
    file = tmp_path / "prompts"
    file.write_text(content)
    assert read_prompts(str(file)) == ["one", "two"]
    assert read_prompts(str(file), 1) == ["one"]


@pytest.mark.parametrize(
    ("content", "words"), [("", "no prompt"), ('[{"text": 1}]', "without a prompt"), ("[1", "JSON")]
)
def test_files_without_prompts_are_told(tmp_path, content, words):
    file = tmp_path / "prompts"
    file.write_text(content)
    with pytest.raises(DataError, match=words):
        read_prompts(str(file))
