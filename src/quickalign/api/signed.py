"""What both signed dialects share: whose key it is, how old a request may be, and that none comes twice.

A signature proves that the sender has the secret; the date in what is signed bounds how long a request that somebody
overheard can be sent again, and its nonce, where the protocol has one, that it is sent once.
"""

import base64
import hashlib
import hmac
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum

SKEW_SECONDS = 900.0
"""How far a request's date may lie from this machine's clock, as the published services have it."""


class Refusal(Enum):
    """Why a signed request is not let in."""

    MALFORMED = "malformed"
    UNKNOWN_KEY = "unknown_key"
    WRONG_SIGNATURE = "wrong_signature"
    STALE = "stale"
    REPLAYED = "replayed"


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a request says of itself: the key's id, its signature, and the date that it was signed at."""

    key: str
    signature: str
    date: str


def claimed(authorization: str, scheme: str, date: str) -> Claimed | None:
    """Read `<scheme> <key>:<signature>`; None where it is written otherwise."""
    found, _, rest = authorization.partition(" ")
    key, colon, signature = rest.strip().partition(":")
    if found.lower() != scheme.lower() or not colon or not key or not signature:
        return None
    return Claimed(key, signature, date)


def check(request: Claimed, text: bytes, secret: Callable[[str], str | None]) -> Refusal | None:
    """Whether `request` signed `text` just now, by HMAC-SHA1 with the secret of its key."""
    known = secret(request.key)
    if known is None:
        return Refusal.UNKNOWN_KEY
    wanted = base64.b64encode(hmac.digest(known.encode(), text, hashlib.sha1)).decode()
    if not hmac.compare_digest(wanted.encode(), request.signature.encode("utf-8", "surrogatepass")):
        return Refusal.WRONG_SIGNATURE
    try:
        signed_at = parsedate_to_datetime(request.date).timestamp()
    except (TypeError, ValueError, OverflowError):
        return Refusal.MALFORMED
    return Refusal.STALE if abs(time.time() - signed_at) > SKEW_SECONDS else None


class Nonces:
    """Nonces that were seen while their requests' dates were good; older ones need not be known."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[str, float] = {}

    def take(self, nonce: str) -> bool:
        """Note a nonce; False where it was noted before."""
        now = self._clock()
        with self._lock:
            # in the order they came, so the first that is still good ends the look
            while self._seen and now - next(iter(self._seen.values())) > 2 * SKEW_SECONDS:
                del self._seen[next(iter(self._seen))]
            if nonce in self._seen:
                return False
            self._seen[nonce] = now
            return True
