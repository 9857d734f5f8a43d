"""The signature of Alibaba Cloud's ROA style, version 1.0: HMAC-SHA1 over the head of a request.

Source: Alibaba Cloud OpenAPI, "Request signature of ROA-style APIs".
"""

from collections.abc import Callable
from urllib.parse import parse_qsl

from starlette.datastructures import Headers

from quickalign.api import signed
from quickalign.api.signed import Nonces, Refusal

SCHEME = "acs"
_NONCE = "x-acs-signature-nonce"


def string_to_sign(method: str, path: str, query: str, headers: Headers) -> str:
    """What is signed.

    Args:
        method: in upper case.
        path: as it was sent, with its escapes.
        query: as it was sent; its names and values are signed without their escapes.
        headers: of the request.
    """
    head = [method, *(headers.get(name, "") for name in ("accept", "content-md5", "content-type", "date"))]
    own = sorted((name.lower(), value) for name, value in headers.items() if name.lower().startswith("x-acs-"))
    given = sorted(parse_qsl(query, keep_blank_values=True))
    resource = "&".join(f"{name}={value}" if value else name for name, value in given)
    lines = [*head, *(f"{name}:{value}" for name, value in own), f"{path}?{resource}" if resource else path]
    return "\n".join(lines)


class Signatures:
    """Checks requests; `secret` gives the secret of a good key."""

    def __init__(self, secret: Callable[[str], str | None]) -> None:
        self._secret = secret
        self._nonces = Nonces()

    def check(self, method: str, path: str, query: str, headers: Headers) -> Refusal | None:
        """Whether the request may come in."""
        request = signed.claimed(headers.get("authorization", ""), SCHEME, headers.get("date", ""))
        nonce = headers.get(_NONCE, "")
        if request is None or not nonce or headers.get("x-acs-signature-method", "").upper() != "HMAC-SHA1":
            return Refusal.MALFORMED
        text = string_to_sign(method, path, query, headers).encode("utf-8", "surrogatepass")
        refused = signed.check(request, text, self._secret)
        if refused is not None:
            return refused
        return None if self._nonces.take(f"{request.key}/{nonce}") else Refusal.REPLAYED
