"""Signing in: a cookie that the server can check without keeping it, and the mark that every change must carry.

The cookie holds no token. It names one and says until when it is good, sealed with a key of the home (HMAC-SHA256). A
token that is revoked ends its sessions at once, and a cookie that another program on this machine gets to see cannot be
used as a token.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from quickalign.core import atomic
from quickalign.core.errors import StorageError
from quickalign.platform.tokens import Tokens

LIFETIME_SECONDS = 14 * 24 * 3600
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in. `csrf` is what their pages send along with every change."""

    token_id: str
    csrf: str


class Sessions:
    """Makes and checks the cookies of one home."""

    def __init__(self, key: bytes, tokens: Tokens, clock: Callable[[], float] = time.time) -> None:
        self._key, self._tokens, self._clock = key, tokens, clock

    def begin(self, token: str) -> str | None:
        """The cookie for who brings this token; None where the token is no good."""
        known = self._tokens.find(token.strip())
        if known is None:
            return None
        content = f"{known.id}.{int(self._clock()) + LIFETIME_SECONDS}.{secrets.token_hex(8)}"
        return f"{content}.{self._seal('session', content)}"

    def find(self, cookie: str | None) -> Session | None:
        """The session of a cookie; None where it was made up, is over, or its token was revoked."""
        content, _, seal = (cookie or "").rpartition(".")
        if not hmac.compare_digest(seal.encode(), self._seal("session", content).encode()):
            return None
        token_id, until, _ = content.split(".")
        if int(until) < self._clock() or not self._tokens.is_good(token_id):
            return None
        return Session(token_id, self._seal("csrf", content))

    def _seal(self, purpose: str, content: str) -> str:
        return hmac.new(self._key, f"{purpose}:{content}".encode(), hashlib.sha256).hexdigest()


def read_key(file: Path) -> bytes:
    """The key in `file`, made where there is none; readable by its owner only.

    Raises:
        StorageError: it cannot be read or written.
    """
    try:
        key = file.read_bytes() if file.exists() else atomic.create_once(file, secrets.token_bytes(_KEY_BYTES))
    except OSError as error:
        raise StorageError(f"{file} cannot be read or written: {error}.", "Delete it; a new one is made.") from None
    if len(key) != _KEY_BYTES:
        raise StorageError(f"{file} is damaged.", "Delete it; a new one is made, and everybody signs in again.")
    return key
