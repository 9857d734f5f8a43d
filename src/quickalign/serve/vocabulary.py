"""What a single token is in bytes: log-probs name tokens, and a token may be a part of a character."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

from transformers import PreTrainedTokenizerBase

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class Vocabulary:
    """The bytes of every token of `tokenizer`."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._added = {i: token.content for i, token in tokenizer.added_tokens_decoder.items()}
        self._special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
        self._byte_level = _uses_bytes(tokenizer)

    @lru_cache(maxsize=65_536)  # noqa: B019 - one vocabulary lives as long as its process
    def content(self, token: int) -> bytes:
        """The bytes that `token` stands for; its name for special tokens, nothing for ids without a token."""
        if token in self._added:
            return self._added[token].encode()
        name = self._tokenizer.convert_ids_to_tokens(token)
        if not isinstance(name, str):
            return b""
        if self._byte_level and all(character in _BYTES for character in name):
            return bytes(_BYTES[character] for character in name)
        if byte := _BYTE.fullmatch(name):
            return bytes([int(byte[1], 16)])
        return name.replace("▁", " ").encode()

    def is_special(self, token: int) -> bool:
        """Whether `token` is a mark, which answers do not show."""
        return token in self._special


def _uses_bytes(tokenizer: PreTrainedTokenizerBase) -> bool:
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return False
    decoder = json.loads(backend.to_str()).get("decoder") or {}
    return any(part.get("type") == "ByteLevel" for part in [decoder, *decoder.get("decoders", [])])


def _byte_alphabet() -> dict[str, int]:
    """The characters by which byte-level tokenizers (GPT-2's and after) write bytes: printable ones are themselves."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


_BYTES = _byte_alphabet()
