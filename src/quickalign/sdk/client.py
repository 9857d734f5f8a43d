"""Calls to a server: with the token, retried where that is safe, and errors as exceptions.

What is retried: a connection that could not be made (nothing was sent), and a lost or refused answer (429, 502, 503,
504) of a call that may be made twice: GET, DELETE, and creates with an idempotency key. Nothing else ever is.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from quickalign import __version__
from quickalign.core.errors import NotFoundError, UnavailableError
from quickalign.sdk.place import Place
from quickalign.sdk.problems import error_of

PREFIX = "/api/v1"

_ATTEMPTS = 5
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0
_TIMEOUT = httpx.Timeout(60.0, connect=5.0)
_REFUSED_FOR_NOW = frozenset({429, 502, 503, 504})
_NOTHING_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

Answer = TypeVar("Answer", bound=BaseModel)
Body = Callable[[], Iterator[bytes]]
"""Makes the body of a request, anew for every attempt."""


class Client:
    """Calls one server.

    Args:
        place: where the server is.
        locate: finds the server again when it cannot be reached, because a server that was started again may listen
            elsewhere. Called with whether it may be started; returns None where there is none.
        transport: for tests.
        sleep: for tests.
    """

    def __init__(
        self,
        place: Place,
        *,
        locate: Callable[[bool], Place | None] | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._locate = locate
        self._sleep = sleep
        self._place = place
        # a proxy of the environment is for other machines
        self._http = httpx.Client(transport=transport, timeout=_TIMEOUT, trust_env=not place.is_loopback)

    @property
    def place(self) -> Place:
        """Where the server is, as last seen."""
        return self._place

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def get(self, path: str, answer: type[Answer], /, **query: Any) -> Answer:
        """GET `path` below the API's prefix."""
        return parsed(answer, self.call("GET", path, query=query))

    def post(
        self,
        path: str,
        kind: type[Answer],
        body: BaseModel | Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
    ) -> Answer:
        """POST JSON; with an idempotency `key` it is retried."""
        content = _json(body)
        headers = {"Content-Type": "application/json"} if content is not None else {}
        if key is not None:
            headers["Idempotency-Key"] = key
        return parsed(kind, self.call("POST", path, body=lambda: iter((content or b"",)), headers=headers))

    def patch(self, path: str, kind: type[Answer], body: BaseModel) -> Answer:
        """PATCH with the fields of `body` that were set; never retried once it was sent."""
        content = _json(body) or b""
        headers = {"Content-Type": "application/json"}
        return parsed(kind, self.call("PATCH", path, body=lambda: iter((content,)), headers=headers))

    def delete(self, path: str) -> None:
        """DELETE `path`; what a lost first attempt already deleted is no error."""
        self.call("DELETE", path)

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """One call, with the retries that are safe; the answer is read whole.

        Raises:
            QuickalignError: the server refuses; UnavailableError: it cannot be reached.
        """
        repeatable = method in ("GET", "DELETE") or "Idempotency-Key" in (headers or {})
        failure: httpx.TransportError | None = None
        for attempt in range(_ATTEMPTS):
            try:
                response = self._http.send(self._request(method, path, query, body, headers))
            except httpx.TransportError as error:
                failure = error
                if not repeatable and not isinstance(error, _NOTHING_SENT):
                    break
                self._pause(attempt)
                self._find_again(start=attempt > 0)
                continue
            if response.status_code in _REFUSED_FOR_NOW and repeatable and attempt < _ATTEMPTS - 1:
                self._pause(attempt, response.headers.get("Retry-After"))
                continue
            if response.is_success:
                return response
            refusal = error_of(response)
            if method == "DELETE" and failure is not None and isinstance(refusal, NotFoundError):
                return response
            raise refusal
        raise self._unreachable(method, failure, repeatable=repeatable)

    @contextmanager
    def stream(self, path: str, *, query: Mapping[str, Any], timeout: httpx.Timeout) -> Iterator[httpx.Response]:
        """GET an answer that is read while it comes; not retried here.

        Raises:
            httpx.TransportError: the connection was lost; QuickalignError: the server refuses.
        """
        request = self._request("GET", path, query, None, None, timeout=timeout)
        response = self._http.send(request, stream=True)
        try:
            if not response.is_success:
                response.read()
                raise error_of(response)
            yield response
        finally:
            response.close()

    def find_again(self) -> None:
        """Look where the server is now, without starting one."""
        self._find_again(start=False)

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: Body | None,
        headers: Mapping[str, str] | None,
        timeout: httpx.Timeout = _TIMEOUT,
    ) -> httpx.Request:
        sent = {"Authorization": f"Bearer {self._place.token}", "User-Agent": f"quickalign/{__version__}"}
        asked = {name: value for name, value in (query or {}).items() if value is not None}
        return self._http.build_request(
            method,
            self._place.endpoint + PREFIX + path,
            params=asked,
            content=body() if body else None,
            headers={**sent, **(headers or {})},
            timeout=timeout,
        )

    def _pause(self, attempt: int, wanted: str | None = None) -> None:
        """Wait longer each time, and never as long as other clients that failed at the same moment."""
        longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempt)
        pause = longest * (0.5 + random.random() / 2)  # noqa: S311 - spreads load, guards nothing
        if wanted is not None and wanted.isdigit():
            pause = max(pause, min(float(wanted), 6 * _LONGEST_PAUSE))
        self._sleep(pause)

    def _find_again(self, *, start: bool) -> None:
        found = self._locate(start) if self._locate else None
        if found is not None:
            self._place = found

    def _unreachable(self, method: str, failure: httpx.TransportError | None, *, repeatable: bool) -> UnavailableError:
        why = f"{type(failure).__name__}: {failure}".rstrip(": ") if failure else "no answer"
        if repeatable or isinstance(failure, _NOTHING_SENT):
            return UnavailableError(
                f"The server at {self._place.endpoint} cannot be reached ({why}).",
                "See `quickalign server status`; QUICKALIGN_ENDPOINT names another server.",
            )
        return UnavailableError(
            f"The connection to {self._place.endpoint} was lost before the answer to a {method} came ({why}); it may "
            "or may not have been done.",
            "Look before doing it again: `quickalign jobs list`, `quickalign files list`, `quickalign services list`.",
        )


def parsed(kind: type[Answer], response: httpx.Response) -> Answer:
    """The answer as `kind`; fields that a newer server added are left out.

    Raises:
        UnavailableError: it is something else; an old or a foreign server.
    """
    try:
        return kind.model_validate_json(response.content, extra="ignore")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UnavailableError(
            f"The answer of {response.request.url} is not what this version of quickalign ({__version__}) expects: "
            f"{where}: {first['msg']}.",
            "Use the same version on both sides; `quickalign server stop` ends an old one.",
        ) from None


def _json(body: BaseModel | Mapping[str, Any] | None) -> bytes | None:
    match body:
        case None:
            return None
        case BaseModel():
            return body.model_dump_json(exclude_unset=True).encode()
    import json  # noqa: PLC0415 - for the few bodies that are no model

    return json.dumps(body).encode()
