"""Where a server is: its address, and the token that opens it."""

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from quickalign.core.errors import AccessError, OptionError

ENDPOINT_VARIABLE = "QUICKALIGN_ENDPOINT"
TOKEN_VARIABLE = "QUICKALIGN_TOKEN"  # noqa: S105 - a variable's name


@dataclass(frozen=True, slots=True)
class Place:
    """A server's address and the token for it.

    `home` is the server's state folder where it is this user's own server on this machine, which can read what this
    program can read; None for a server that was named by its address.
    """

    endpoint: str
    token: str = field(repr=False)
    home: Path | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether the address is this machine's own."""
        host = urlsplit(self.endpoint).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


def named(endpoint: str | None, token: str | None) -> Place | None:
    """The server named by the arguments, else by the environment; None where neither names one.

    Raises:
        OptionError: the address or the token is none, or a token comes without an address.
        AccessError: no token was given.
    """
    address = (endpoint or os.environ.get(ENDPOINT_VARIABLE) or "").strip()
    if not address:
        if token is not None:
            raise OptionError(
                "A token was given and no endpoint: nothing says which server it is for.",
                f"Give the endpoint too, or set {ENDPOINT_VARIABLE}.",
            )
        return None
    # a file that holds a token ends with a line's end, as a rule
    secret = (token or os.environ.get(TOKEN_VARIABLE) or "").strip()
    if not secret:
        raise AccessError(
            f"The server {address} needs a token and none was given.",
            f"Set {TOKEN_VARIABLE}; the server printed its token at its first start.",
        )
    if not (secret.isascii() and secret.isprintable()):
        raise OptionError(
            f"The token for {address} holds characters that no token has.",
            "Copy it again; the file `token` in the server's home holds the one of its first start.",
        )
    return Place(_checked(address), secret)


def _checked(address: str) -> str:
    """`address` without its closing slash."""
    try:
        parts = urlsplit(address)
        is_one = bool(parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0))
    except ValueError:
        is_one = False
    if not is_one or parts.query or parts.fragment:
        raise OptionError(
            f"{address!r} is not the address of a server.",
            "Write it as http://HOST:PORT or https://HOST, as `quickalign server status` shows it.",
        )
    return address.rstrip("/")
