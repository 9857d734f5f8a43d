"""Identifiers: a prefix and 24 random characters."""

import secrets

_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


def new(prefix: str) -> str:
    """`<prefix>-` and 24 lower-case letters and digits, 120 random bits."""
    return f"{prefix}-" + "".join(secrets.choice(_ALPHABET) for _ in range(24))
