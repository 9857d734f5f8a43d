"""Names that programs make up, and lines that they say."""

import secrets
import string
import sys

_ALPHABET = string.ascii_lowercase + string.digits


def random_str(n: int) -> str:
    """A text of `n` random lower-case letters and digits, for names that must not meet others."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(n))


def say(line: str) -> None:
    """Write a line to standard output at once, also where that is a file or a pipe."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
