"""Chat messages inside rows: lists of objects with a role and a text, whatever the two are called."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quickalign.data.formats.fields import checked_text
from quickalign.data.problem import RowProblem, describe
from quickalign.data.records import Message, Role

_UNSUPPORTED = {"tool", "function", "function_call", "observation", "ipython"}


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a format writes a message: the names of its two fields, and of the roles."""

    role: str
    content: str
    roles: Mapping[str, Role]

    @property
    def fields(self) -> frozenset[str]:
        """What a message has that is used."""
        return frozenset({self.role, self.content})

    def looks_like(self, value: Any) -> bool:
        """Whether `value` is a list that begins with such a message."""
        return isinstance(value, list) and bool(value) and isinstance(value[0], dict) and self.role in value[0]


OPENAI = Dialect("role", "content", {"system": "system", "user": "user", "assistant": "assistant"})
SHAREGPT = Dialect(
    "from",
    "value",
    {
        "system": "system",
        "human": "user",
        "user": "user",
        "gpt": "assistant",
        "assistant": "assistant",
        "chatgpt": "assistant",
    },
)


def message(value: Any, field: str, dialect: Dialect) -> Message:
    """One message."""
    if not isinstance(value, dict):
        raise RowProblem(field, describe(value), f"a message with {dialect.role!r} and {dialect.content!r}")
    role, content = value.get(dialect.role), value.get(dialect.content)
    if role in _UNSUPPORTED or value.get("tool_calls") or value.get("function_call"):
        raise RowProblem(field, "a tool message or tool call", "messages of system, user and assistant only")
    known = dialect.roles.get(role) if isinstance(role, str) else None
    if known is None:
        roles = ", ".join(dialect.roles)
        raise RowProblem(f"{field}.{dialect.role}", describe(role), f"one of {roles}")
    if isinstance(content, list):
        raise RowProblem(f"{field}.{dialect.content}", f"{describe(content)} (message parts)", "one text")
    return Message(known, checked_text(content, f"{field}.{dialect.content}"))


def messages(value: Any, field: str, dialect: Dialect) -> tuple[Message, ...]:
    """A list of at least one message."""
    if not isinstance(value, list) or not value:
        raise RowProblem(field, describe(value), "a list of messages")
    return tuple(message(item, f"{field}[{index}]", dialect) for index, item in enumerate(value))


def prompt(conversation: tuple[Message, ...], field: str) -> tuple[Message, ...]:
    """`conversation` if an answer can follow it: an optional system message, then user and assistant in turn."""
    _check_turns(conversation, field)
    if not conversation or conversation[-1].role != "user":
        found = f"{described(conversation[-1].role)} at the end" if conversation else "no message before the answer"
        raise RowProblem(field, found, "a prompt that ends with a user message")
    return conversation


def answer(conversation: tuple[Message, ...], field: str) -> str:
    """The text of `conversation` if it is exactly one assistant message."""
    if len(conversation) == 1 and conversation[0].role == "assistant":
        return conversation[0].content
    roles = ", ".join(item.role for item in conversation[:6])
    found = f"{len(conversation)} messages ({roles})" if len(conversation) != 1 else described(roles)
    raise RowProblem(field, found, "exactly one assistant message behind the prompt")


def raw_prompt(conversation: tuple[Message, ...]) -> str | None:
    """The prompt as plain text where it is a single user message; a longer one has no agreed plain form."""
    return conversation[0].content if len(conversation) == 1 else None


def _check_turns(conversation: tuple[Message, ...], field: str) -> None:
    start = 1 if conversation and conversation[0].role == "system" else 0
    for index, item in enumerate(conversation[start:]):
        wanted = "assistant" if index % 2 else "user"
        if item.role != wanted:
            turn = index + start + 1
            raise RowProblem(
                field, f"{described(item.role)} as turn {turn}", f"{described(wanted)}: user and assistant take turns"
            )


def described(role: str) -> str:
    """A message of this role, with its article."""
    return f"{'an' if role == 'assistant' else 'a'} {role} message"
