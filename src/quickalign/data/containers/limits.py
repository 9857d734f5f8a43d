"""Bounds that keep memory bounded whatever a file holds."""

MAX_ROW_BYTES = 64 << 20
"""The longest row that is read, in bytes. A longer one is refused without being read whole."""

MAX_DEPTH = 1000
"""The deepest nesting of lists and objects in one row."""

MAX_EXPANSION = 500
"""How many times its size a gzip file may expand to, once it has given `EXPANSION_FREE` bytes."""

EXPANSION_FREE = 64 << 20

LIMIT_WORDS = f"at most {MAX_ROW_BYTES >> 20} MiB"
