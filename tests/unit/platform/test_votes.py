"""Votes are kept as given, survive a cut-off line, and become pairs."""

import os

import pytest

from quickalign.core.errors import DataError
from quickalign.core.wire.votes import Candidate, VoteCreate
from quickalign.platform.votes import FILE


def vote(choice, left="good", right="bad", **more):
    return VoteCreate(
        messages=({"role": "user", "content": "Hi"},),
        left=Candidate(text=left, service="a"),
        right=Candidate(text=right, service="b"),
        choice=choice,
        **more,
    )


def test_votes_are_listed_newest_first_and_in_pages(platform):
    made = [platform.votes.add(vote("left")).id for _ in range(5)]
    first = platform.votes.list(limit=2)
    assert [one.id for one in first.items] == made[:2:-1]
    rest = platform.votes.list(after=first.next, limit=10)
    assert [one.id for one in rest.items] == made[2::-1]
    assert rest.next is None


def test_conversations_are_readable_by_their_owner_only(platform):
    before = os.umask(0o022)
    try:
        platform.votes.add(vote("left"))
    finally:
        os.umask(before)
    assert (platform.home.root / FILE).stat().st_mode & 0o777 == 0o600


def test_a_line_that_was_cut_off_is_passed_over(platform):
    platform.votes.add(vote("left"))
    file = platform.home.root / FILE
    whole = file.read_bytes()
    file.write_bytes(whole + whole[: len(whole) // 2])
    platform.votes.add(vote("right"))
    assert [one.choice for one in platform.votes.list().items] == ["right", "left"]


def test_equal_answers_ties_and_bad_ones_make_no_pair(platform):
    for request in (vote("left", right="good"), vote("tie"), vote("both_bad")):
        platform.votes.add(request)
    assert platform.votes.count().model_dump() == {"votes": 3, "pairs": 0}
    with pytest.raises(DataError, match="no preference pair"):
        platform.votes.dataset()
    platform.votes.add(vote("edited", edited="best"))
    stored = platform.votes.dataset("mine.jsonl")
    rows = platform.files.texts(stored.id).items
    assert [(row.chosen, row.rejected) for row in rows] == [("best", "good"), ("best", "bad")]
