"""From the messages and prompts of a request to what the model's own encoder takes."""

from __future__ import annotations

from typing import Any, cast

from quickalign.data.problem import describe
from quickalign.data.records import Message, Role
from quickalign.serve.http.errors import bad_value

_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_KNOWN = {"role", "content"}


def read_messages(messages: list[dict[str, Any]]) -> list[Message]:
    """The chat in a request.

    Raises:
        ApiError: 400; a role, a kind of content or a field that this model has no form for.
    """
    return [_message(message, f"messages[{index}]") for index, message in enumerate(messages)]


def _message(message: dict[str, Any], where: str) -> Message:
    role = message.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise bad_value(
            f"{where}.role is {describe(role)}; this model knows {', '.join(_ROLES)}.", f"{where}.role", "invalid_role"
        )
    for name, value in message.items():
        harmless = value in (None, [], "") or (name == "type" and value == "text")
        if name not in _KNOWN and not harmless:
            raise bad_value(
                f"{where}.{name} is not supported: the model's chat template has no place for it.",
                f"{where}.{name}",
                "unsupported_parameter",
            )
    return Message(_ROLES[role], _content(message.get("content"), f"{where}.content"))


def _content(content: Any, where: str) -> str:
    """A text, or parts of text joined as they are."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise bad_value(f"{where} is {describe(content)}, not a text or a list of parts.", where, "invalid_type")
    return "".join(_part(part, f"{where}[{index}]") for index, part in enumerate(content))


def _part(part: Any, where: str) -> str:
    if not isinstance(part, dict):
        raise bad_value(f"{where} is {describe(part)}, not a part with a type.", where, "invalid_type")
    if part.get("type") != "text":
        raise bad_value(
            f"{where}.type is {describe(part.get('type'))}; this model takes text only.",
            f"{where}.type",
            "unsupported_content",
        )
    text = part.get("text")
    if not isinstance(text, str):
        raise bad_value(f"{where}.text is {describe(text)}, not a text.", f"{where}.text", "invalid_type")
    return text


def read_prompts(prompt: str | list[Any], vocabulary: int) -> list[str | list[int]]:
    """The prompts of a completion request: a text, texts, ids, or lists of ids.

    Raises:
        ApiError: 400; it is none of those, or an id that the model has no token for.
    """
    if isinstance(prompt, str):
        return [prompt]
    if not prompt:
        raise bad_value("prompt is an empty list.", "prompt")
    if all(isinstance(one, str) for one in prompt):
        return cast("list[str | list[int]]", prompt)
    lists = prompt if all(isinstance(one, list) for one in prompt) else [prompt]
    for ids in lists:
        if not all(type(one) is int for one in ids):
            raise bad_value("prompt must be a text, a list of texts, or token ids.", "prompt", "invalid_type")
        wrong = [one for one in ids if not 0 <= one < vocabulary]
        if wrong:
            raise bad_value(f"prompt has the token id {wrong[0]}; the model's go from 0 to {vocabulary - 1}.", "prompt")
    return cast("list[str | list[int]]", lists)
