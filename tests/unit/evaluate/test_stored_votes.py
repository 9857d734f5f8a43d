"""The votes that the console keeps, as verdicts between models named on a command line."""

import pytest

from quickalign.core.errors import DataError
from quickalign.core.wire.files import Turn
from quickalign.core.wire.votes import Candidate, VoteCreate
from quickalign.evaluate.compare.prompts import read_prompts
from quickalign.evaluate.compare.votes import read_votes
from quickalign.platform.votes import Votes


@pytest.fixture
def keep(tmp_path, monkeypatch):
    """`keep(left, right, choice, *questions)` votes as the console does; models are `service=what it serves`."""
    monkeypatch.setenv("QUICKALIGN_HOME", str(tmp_path))
    votes = Votes(tmp_path / "votes.jsonl", files=None, clock=lambda: 1.0)

    def candidate(text):
        service, _, model = text.partition("=")
        return Candidate(text="an answer", service=service, model=model or None)

    def vote(left, right, choice, *questions, **more):
        turns = tuple(Turn(role="user", content=text) for text in questions)
        votes.add(VoteCreate(messages=turns, left=candidate(left), right=candidate(right), choice=choice, **more))

    return vote


def test_models_are_known_by_service_job_card_or_folder(keep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = f"tuned={tmp_path}/runs/first/adapter"
    keep("plain=qwen2-tiny-instruct", folder, "right", "May I?")
    keep(folder, "plain=qwen2-tiny-instruct", "left", "May I?")
    keep(folder, "plain=qwen2-tiny-instruct", "both_bad", "Why?")
    keep(folder, "other=job-b", "left", "May I?")
    wanted = {"May I?": ["second", "second"], "Why?": ["tie"]}
    for names in (("plain", "tuned"), ("qwen2-tiny-instruct", "runs/first"), ("plain", "runs/first/adapter")):
        assert read_votes("stored", names) == wanted
    assert read_votes("stored", ("job-b", "tuned")) == {"May I?": ["second"]}


def test_better_answers_and_long_conversations_are_left_out(keep, tmp_path):
    keep("a", "b", "edited", "One?", edited="Better.")
    keep("a", "b", "left", "One?", "And two?")
    keep("a", "b", "left", "Three?")
    file = str(tmp_path / "votes.jsonl")
    assert read_votes(file, ("a", "b")) == {"Three?": ["first"]}
    assert read_prompts(file) == ["One?", "Three?"]


def test_a_vote_of_an_unknown_kind_is_named(tmp_path):
    (tmp_path / "votes.jsonl").write_text('{"choice": "up", "left": {}, "right": {}, "messages": []}\n')
    with pytest.raises(DataError, match="Line 1"):
        read_votes(str(tmp_path / "votes.jsonl"), ("a", "b"))
