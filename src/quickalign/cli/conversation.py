"""A conversation with a service: what was said, and the next answer, piece by piece."""

# ruff: noqa: PLC0415 - the client takes a second to import

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from quickalign.core.errors import AccessError, NotFoundError, OptionError, QuickalignError, UnavailableError
from quickalign.sdk.predictor import Predictor

_BY_STATUS: dict[int, type[QuickalignError]] = {
    400: OptionError,
    401: AccessError,
    403: AccessError,
    404: NotFoundError,
    422: OptionError,
}


@dataclass(frozen=True, slots=True)
class Asking:
    """How answers are drawn; what is None is the service's own."""

    temperature: float = 0.0
    max_tokens: int | None = None
    seed: int | None = None
    system_prompt: str | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments of a request."""
        values = {"temperature": self.temperature, "max_tokens": self.max_tokens, "seed": self.seed}
        return {name: value for name, value in values.items() if value is not None}


class Conversation:
    """What was said to one service and by it."""

    def __init__(self, predictor: Predictor, asking: Asking) -> None:
        self.name = predictor.service_name
        self._client: Any = predictor.openai()
        self._asking = asking
        self._messages: list[dict[str, str]] = []
        self.restart()

    def restart(self) -> None:
        """Forget what was said."""
        prompt = self._asking.system_prompt
        self._messages = [] if prompt is None else [{"role": "system", "content": prompt}]

    def ask(self, text: str) -> Iterator[str]:
        """The pieces of the answer to `text`; what came of it is remembered, also where the reader stops early.

        Raises:
            QuickalignError: the service refuses, or the answer broke off; then the question is forgotten.
        """
        question = {"role": "user", "content": text}
        pieces: list[str] = []
        try:
            with _told_plainly(self.name):
                for piece in self._pieces([*self._messages, question]):
                    pieces.append(piece)
                    yield piece
        except QuickalignError:
            pieces.clear()
            raise
        finally:
            if pieces:
                self._messages += [question, {"role": "assistant", "content": "".join(pieces)}]

    def _pieces(self, messages: list[dict[str, str]]) -> Iterator[str]:
        stream = self._client.chat.completions.create(
            model="default", messages=messages, stream=True, **self._asking.settings
        )
        with stream:
            for chunk in stream:
                if chunk.choices and chunk.choices[0].delta.content:
                    yield chunk.choices[0].delta.content


class Listener:
    """Reads an answer in a thread of its own, so that two can come at once."""

    def __init__(self, conversation: Conversation, text: str) -> None:
        self._pieces: list[str] = []
        self._error: QuickalignError | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(conversation, text), daemon=True)
        self._thread.start()

    @property
    def text(self) -> str:
        """What has come so far."""
        return "".join(self._pieces)

    def finished(self, seconds: float) -> bool:
        """Whether the answer is whole, after waiting so long at most.

        Raises:
            QuickalignError: the service refused, or the answer broke off.
        """
        self._thread.join(seconds)
        if self._error is not None:
            raise self._error
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Read no further."""
        self._stopped.set()

    def _read(self, conversation: Conversation, text: str) -> None:
        try:
            for piece in conversation.ask(text):
                self._pieces.append(piece)
                if self._stopped.is_set():
                    return
        except QuickalignError as error:
            self._error = error


@contextmanager
def _told_plainly(name: str) -> Iterator[None]:
    """The client's errors as those of this project."""
    import openai

    try:
        yield
    except openai.APIStatusError as error:
        kind = _BY_STATUS.get(error.status_code, UnavailableError)
        raise kind(f"Service {name} answered: {_sentence(error)}") from None
    except openai.APIConnectionError as error:
        raise UnavailableError(f"Service {name} cannot be reached ({error.__cause__ or error}).") from None
    except openai.APIError as error:
        raise UnavailableError(f"The answer of service {name} broke off: {_sentence(error)}") from None


def _sentence(error: Any) -> str:
    body = error.body if isinstance(error.body, dict) else {}
    return str(body.get("message") or error.message)
