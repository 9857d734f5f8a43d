"""HTTP as the hubs need it: JSON listings, and a file's bytes from an offset, with answers turned into sentences."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from quickalign import __version__
from quickalign.core.errors import ModelError
from quickalign.hub.repository import Unavailable


def client(token: str | None = None, cookies: httpx.Cookies | None = None) -> httpx.Client:
    """A client that follows redirects; httpx drops the token when one leads to another host.

    Raises:
        ModelError: the environment names a proxy that cannot be used.
    """
    headers = {"User-Agent": f"quickalign/{__version__}", "Accept-Encoding": "identity"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    timeout = httpx.Timeout(60, connect=10)
    try:
        return httpx.Client(headers=headers, cookies=cookies, timeout=timeout, follow_redirects=True)
    except (ImportError, ValueError) as error:  # a SOCKS proxy without its package, or an address that is none
        raise ModelError(
            f"The proxy settings of the environment cannot be used: {_reason(error).rstrip('.')}.",
            "Check HTTP_PROXY, HTTPS_PROXY and ALL_PROXY.",
        ) from None


def get_json(web: httpx.Client, url: str, parameters: Mapping[str, str], refusal: ModelError) -> dict[str, Any]:
    """The JSON object at `url`.

    Raises:
        Unavailable: nobody answers, or the answer is that there is no such thing.
        ModelError: `refusal`, where a licence must be accepted first.
    """
    try:
        response = web.get(url, params=dict(parameters))
        check(response, refusal)
        content = response.json()
    except (httpx.RequestError, httpx.InvalidURL) as error:
        raise Unavailable(f"cannot be reached ({_reason(error)})") from None
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise Unavailable("answered with something else than JSON")
    return content


@contextmanager
def stream(web: httpx.Client, url: str, offset: int, refusal: ModelError) -> Iterator[tuple[int, Iterator[bytes]]]:
    """The bytes at `url` from `offset`, or from 0 where the server sends the whole: (start, blocks).

    Raises:
        httpx.RequestError: the connection broke; the caller goes on from what it has.
        Unavailable: the server answered with an error.
        ModelError: `refusal`.
    """
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    with web.stream("GET", url, headers=headers) as response:
        if response.status_code >= 500 or response.status_code in (408, 416, 429):
            raise httpx.ReadError(f"the server answered {response.status_code}", request=response.request)
        check(response, refusal)
        start = offset if response.status_code == httpx.codes.PARTIAL_CONTENT else 0
        # Without a block size, so that bytes that came before a break are not lost in a half-filled block.
        yield start, response.iter_raw()


def check(response: httpx.Response, refusal: ModelError) -> None:
    """Raise what an answer other than success means."""
    status, code = response.status_code, response.headers.get("x-error-code", "")
    if code == "GatedRepo" or status == httpx.codes.FORBIDDEN:
        raise refusal
    if code == "RevisionNotFound":
        raise Unavailable("has the model, but no such revision")
    if status == httpx.codes.UNAUTHORIZED:
        raise Unavailable("has no such model, or it is private and no valid token is set")
    if status == httpx.codes.NOT_FOUND:
        raise Unavailable("has no such model or revision")
    if not response.is_success:
        raise Unavailable(f"answered with HTTP {status}")


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text or type(error).__name__
