"""Small texts that programs make up."""

import secrets
import string

_ALPHABET = string.ascii_lowercase + string.digits


def random_str(n: int) -> str:
    """A text of `n` random lower-case letters and digits, for names that must not meet others."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(n))
