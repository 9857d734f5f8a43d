"""Votes on the wire: which of two answers people preferred, and where the answers came from."""

from typing import Literal

from pydantic import Field, model_validator

from quickalign.core.wire.base import Name, Timestamp, Wire
from quickalign.core.wire.files import Turn

Choice = Literal["left", "right", "tie", "both_bad", "edited"]
_MAX_TEXT = 200_000


class Candidate(Wire):
    """An answer with its origin."""

    text: str = Field(max_length=_MAX_TEXT)
    service: str = Field(max_length=100, description="The service that gave it.")
    revision: int | None = Field(default=None, description="Its revision at that time.")
    model: str | None = Field(default=None, max_length=2000, description="What that revision served.")


class VoteCreate(Wire):
    """Two answers to one conversation, and which was preferred; or a better one that somebody wrote."""

    messages: tuple[Turn, ...] = Field(
        min_length=1, max_length=1000, description="The conversation before the answers."
    )
    left: Candidate
    right: Candidate
    choice: Choice
    edited: str | None = Field(default=None, min_length=1, max_length=_MAX_TEXT, description="The better answer.")
    blind: bool = Field(default=False, description="Whether the voter could not see which service gave which answer.")

    @model_validator(mode="after")
    def _edited_where_said(self) -> "VoteCreate":
        if (self.choice == "edited") != (self.edited is not None):
            raise ValueError("an edited answer comes with the choice `edited`, and only with it")
        return self


class Vote(VoteCreate):
    """A vote that is kept."""

    id: str
    created_at: Timestamp


class VoteCount(Wire):
    """What there is so far."""

    votes: int
    pairs: int = Field(description="Preference pairs that a dataset of them would hold.")


class VotesDataset(Wire):
    """Make a dataset of all votes so far."""

    filename: Name = "votes.jsonl"
