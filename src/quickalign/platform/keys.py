"""Idempotency keys: the same request sent again gives what the first one made."""

import hashlib
import json

from pydantic import BaseModel
from sqlalchemy.orm import Session

from quickalign.core.errors import ConflictError, OptionError
from quickalign.platform.db.tables import KeyRow

_MAX_KEY = 255


def fingerprint(request: BaseModel) -> str:
    """Equal for equal requests."""
    text = json.dumps(request.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def check(key: str) -> None:
    """Refuse a key that cannot be kept.

    Raises:
        OptionError: it is empty, too long, or not printable.
    """
    if not key or len(key) > _MAX_KEY or not key.isprintable():
        raise OptionError(
            "The idempotency key must be 1 to 255 printable characters.",
            "Use a UUID.",
            field="Idempotency-Key",
            value=key[:40],
        )


def made_by(session: Session, key: str, print_of_request: str) -> str | None:
    """The id of what `key` made; None where it is new.

    Raises:
        ConflictError: it was used for another request. OptionError: it cannot be a key.
    """
    check(key)
    row = session.get(KeyRow, key)
    if row is None:
        return None
    if row.fingerprint != print_of_request:
        kind = "service" if row.made.startswith("service-") else "job"
        raise ConflictError(
            f"The idempotency key {key!r} was used for another request, which made the {kind} {row.made}.",
            f"Use a new key for a new {kind}.",
            field="Idempotency-Key",
            value=key,
        )
    return row.made
