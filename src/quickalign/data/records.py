"""What a row of training data is once its format is known."""

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class PreferenceRecord:
    """A prompt with the answer that is preferred and the one that is not.

    `row` is the row's number in its file, from 1. `raw_prompt` is the prompt as plain text where the format has one; it
    is what `apply_chat_template=false` joins the answers to. `raw_lead` is what the file has between the two; joined
    texts get it in front of each answer, because a tokenizer keeps a space with the word after it.
    """

    row: int
    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    raw_prompt: str | None = None
    category: str | None = None
    language: str | None = None
    raw_lead: str = ""

    @property
    def answers(self) -> tuple[str, ...]:
        """Chosen and rejected."""
        return self.chosen, self.rejected


@dataclass(frozen=True, slots=True)
class SupervisedRecord:
    """A prompt with the answer to imitate."""

    row: int
    prompt: tuple[Message, ...]
    response: str
    raw_prompt: str | None = None
    category: str | None = None
    language: str | None = None
    raw_lead: str = ""

    @property
    def answers(self) -> tuple[str, ...]:
        """The response alone."""
        return (self.response,)


Record = PreferenceRecord | SupervisedRecord
