"""Requests to a service itself, with the service's own token."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import httpx

from quickalign import __version__
from quickalign.core.errors import OptionError, QuickalignError, UnavailableError

Timeout = float | tuple[float, float] | None

_CONNECT_SECONDS = 10.0
_LONGEST = 500


class PredictionException(QuickalignError):  # noqa: N818 - PAI's name
    """A service answered with an error; `code` is the HTTP status, `message` the service's own sentence."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class RawResponse:
    """What a service answered."""

    status_code: int
    headers: dict[str, str] = field(repr=False)
    content: bytes

    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.content)


def send(
    client: httpx.Client,
    method: str,
    url: str,
    token: str,
    *,
    body: Any,
    headers: dict[str, str],
    params: Any,
    timeout: Timeout,
) -> RawResponse:
    """One request, read whole. Text and bytes go as they are, anything else as JSON.

    Raises:
        PredictionException: the answer is an error. UnavailableError: nobody answers; ConnectionRefusedError: nobody
            listens there, so that nothing was sent.
    """
    raw = body.read() if hasattr(body, "read") else body
    content = raw if isinstance(raw, (bytes, str)) or raw is None else json.dumps(raw)
    kind = {} if isinstance(raw, (bytes, str)) or raw is None else {"Content-Type": "application/json"}
    own = {"Authorization": f"Bearer {token}", "User-Agent": f"quickalign/{__version__}"}
    try:
        response = client.request(
            method, url, content=content, headers={**kind, **headers, **own}, params=params, timeout=_timeout(timeout)
        )
    except httpx.ConnectError as error:
        raise ConnectionRefusedError(str(error)) from None
    except httpx.TransportError as error:
        raise UnavailableError(f"{url} did not answer ({type(error).__name__}: {error}).", "Try it again.") from None
    if not response.is_success:
        raise PredictionException(response.status_code, _sentence(response))
    return RawResponse(response.status_code, dict(response.headers), response.content)


def route_of(body: bytes) -> str:
    """Which of a service's paths a request's body is for.

    Raises:
        OptionError: it is neither a chat nor a completion, or asks for a stream.
    """
    try:
        asked = json.loads(body)
    except ValueError:
        asked = None
    if not isinstance(asked, dict) or not {"messages", "prompt"} & set(asked):
        raise OptionError(
            "A service takes an object with 'messages' (a chat) or 'prompt' (a completion).",
            'As in {"messages": [{"role": "user", "content": "Hello"}]}.',
        )
    if asked.get("stream"):
        raise OptionError("stream=true has no effect with predict.", "`predictor.openai()` reads streams.")
    return "v1/chat/completions" if "messages" in asked else "v1/completions"


def with_model(body: bytes) -> bytes:
    """The same request, for the service's own model where it names none."""
    return json.dumps({"model": "default"} | json.loads(body)).encode()


def _timeout(wanted: Timeout) -> httpx.Timeout:
    if isinstance(wanted, tuple):
        return httpx.Timeout(wanted[1], connect=wanted[0])
    # as in PAI, a request without a limit waits for its answer
    return httpx.Timeout(wanted, connect=wanted or _CONNECT_SECONDS)


def _sentence(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        text = " ".join(response.text.split())[:_LONGEST]
        return f"{response.url} was answered with {response.status_code}: {text or 'no explanation'}."
