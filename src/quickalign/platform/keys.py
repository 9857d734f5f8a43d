"""Idempotency keys: the same request sent again gives what the first one made."""

import hashlib
import json

from pydantic import BaseModel
from sqlalchemy.orm import Session

from quickalign.core.errors import ConflictError, OptionError
from quickalign.platform.db.tables import KeyRow

_MAX_KEY = 255


def fingerprint(request: BaseModel, cloned_from: str | None = None) -> str:
    """Equal for equal requests; a clone's is that of what it is cloned from, too."""
    text = json.dumps(request.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
    if cloned_from is not None:
        text = f"{cloned_from} {text}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _check(key: str) -> None:
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


def made_by(session: Session, key: str, fingerprint: str) -> str | None:
    """The id of what `key` made; None where it is new.

    Raises:
        ConflictError: it was used for another request. OptionError: it cannot be a key.
    """
    _check(key)
    row = session.get(KeyRow, key)
    if row is None:
        return None
    if row.fingerprint != fingerprint:
        kind = "service" if row.made.startswith("service-") else "job"
        raise ConflictError(
            f"The idempotency key {key!r} was used for another request, which made the {kind} {row.made}.",
            f"Use a new key for a new {kind}.",
            field="Idempotency-Key",
            value=key,
        )
    return row.made
