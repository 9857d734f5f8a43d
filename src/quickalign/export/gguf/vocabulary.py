"""The tokenizer in GGUF's terms: byte-level BPE, with the name of how it cuts texts, or SentencePiece.

llama.cpp has code for each such pattern. One that it is not known to have is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from transformers import PreTrainedTokenizerBase

from quickalign.core.errors import ModelError

if TYPE_CHECKING:
    from gguf import GGUFWriter

_REST = r"[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SHORT_FORMS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|"
PATTERNS = {
    _SHORT_FORMS + _REST % r"\p{N}": "qwen2",
    _SHORT_FORMS + _REST % r"\p{N}{1,3}": "llama-bpe",
}
"""llama.cpp's name of the pattern of a `Split` before the byte level: digits one by one, or up to three."""
_WHOLE_WORDS_FIRST = ("llama-bpe",)
"""Those with which llama.cpp takes a word that is a token as it is (`ignore_merges`)."""
SENTENCEPIECE = "default"
_BYTE = re.compile("<0x[0-9A-F]{2}>")
_ENDS = ("eos", "eot", "eom")
WAY_OUT = "Export it without compression: convert_hf_to_gguf.py of llama.cpp may know what to do with that folder."


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What GGUF has to know of a tokenizer.

    Attributes:
        pattern: llama.cpp's name of how texts are cut into words; SENTENCEPIECE where they are not.
        merges: of byte-level BPE, as `left right`, the first ones first.
        scores: of SentencePiece, a token; of two neighbours, those that make the highest are joined first.
        ids: by what they are for.
        adds: what is put before a text by itself: `bos_token`, `space_prefix`.
    """

    tokens: list[str]
    types: list[int]
    pattern: str
    merges: list[str]
    scores: list[float]
    ids: dict[str, int]
    template: str | None
    adds: dict[str, bool] = field(default_factory=dict)

    def add_to(self, writer: GGUFWriter) -> None:
        """Put it into a file's header."""
        writer.add_tokenizer_model("llama" if self.pattern == SENTENCEPIECE else "gpt2")
        writer.add_tokenizer_pre(self.pattern)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        if self.pattern == SENTENCEPIECE:
            writer.add_token_scores(self.scores)
        else:
            writer.add_token_merges(self.merges)
        for name, number in self.ids.items():
            getattr(writer, f"add_{name}_token_id")(number)
        for name, does in self.adds.items():
            getattr(writer, f"add_add_{name}")(does)
        if self.template:
            writer.add_chat_template(self.template)


def vocabulary_of(tokenizer: PreTrainedTokenizerBase, size: int, ends: Sequence[int]) -> Vocabulary:
    """The vocabulary of `tokenizer`, filled up to the model's `size` ids.

    Args:
        ends: the ids that end an answer.

    Raises:
        ModelError: llama.cpp has no code for it, or it ends answers in more ways than GGUF has words for.
    """
    told = json.loads(tokenizer.backend_tokenizer.to_str())
    added = {one["id"]: one for one in told["added_tokens"]}
    names = {number: text for text, number in told["model"]["vocab"].items()}
    names |= {number: one["content"] for number, one in added.items()}
    pairs = [one.split(" ") if isinstance(one, str) else one for one in told["model"]["merges"]]
    ranks = {"".join(pair): -float(rank) for rank, pair in reversed(list(enumerate(pairs)))}
    ids = _special(tokenizer, ends)
    pattern = pattern_of(told)
    begins = tokenizer.bos_token_id is not None and tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id
    spaces = {"space_prefix": _prefixes_parts(told)} if pattern == SENTENCEPIECE else {}
    return Vocabulary(
        tokens=[names.get(number, f"[unused{number}]") for number in range(size)],
        types=[_type_of(names.get(number), added.get(number), number == ids.get("unk")) for number in range(size)],
        pattern=pattern,
        merges=[" ".join(pair) for pair in pairs],
        scores=[ranks.get(names.get(number, ""), -1e6) for number in range(size)],
        ids=ids,
        template=tokenizer.chat_template if isinstance(tokenizer.chat_template, str) else None,
        adds={"bos_token": begins, **spaces},
    )


def pattern_of(told: dict[str, Any]) -> str:
    """llama.cpp's name for how the tokenizer of a `tokenizer.json` cuts texts into words.

    Raises:
        ModelError: it is not known to have one.
    """
    model, before = told["model"], told["pre_tokenizer"] or {}
    steps = before.get("pretokenizers", [before])
    kinds = [step.get("type") for step in steps]
    if model["type"] == "BPE" and model.get("byte_fallback") and kinds in ([None], ["Metaspace"]):
        return SENTENCEPIECE
    if model["type"] != "BPE" or kinds != ["Split", "ByteLevel"]:
        raise ModelError(
            "GGUF is made of byte-level BPE and SentencePiece vocabularies, and this model's is of another kind.",
            WAY_OUT,
        )
    name = PATTERNS.get(steps[0]["pattern"].get("Regex", ""))
    if name is None or bool(model.get("ignore_merges")) != (name in _WHOLE_WORDS_FIRST):
        raise ModelError(
            "This model's tokenizer cuts texts into words in a way that llama.cpp is not known to have.", WAY_OUT
        )
    return name


def _prefixes_parts(told: dict[str, Any]) -> bool:
    """Whether a space is put before a text, and before what follows a special token in it.

    Where it is put before a text's very beginning alone, a chat, which begins with a special token, never gets one.
    """
    if (told["pre_tokenizer"] or {}).get("type") == "Metaspace":
        return bool(told["pre_tokenizer"]["prepend_scheme"] == "always")
    normalizer = told["normalizer"] or {}
    return any(step.get("type") == "Prepend" for step in normalizer.get("normalizers", [normalizer]))


def _type_of(text: str | None, added: dict[str, Any] | None, unknown: bool) -> int:
    from gguf import TokenType  # noqa: PLC0415 - an extra

    if text is None:
        return int(TokenType.UNUSED)
    if _BYTE.fullmatch(text):
        return int(TokenType.BYTE)
    if unknown:
        return int(TokenType.UNKNOWN)
    if added is not None:
        return int(TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED)
    return int(TokenType.NORMAL)


def _special(tokenizer: PreTrainedTokenizerBase, ends: Sequence[int]) -> dict[str, int]:
    """Ids by what they are for; GGUF has three words for ends."""
    own = tokenizer.eos_token_id
    ordered = ([own] if own in ends else []) + sorted(set(ends) - {own})
    if len(ordered) > len(_ENDS):
        raise ModelError(f"{len(ordered)} tokens end this model's answers, and GGUF has words for three.", WAY_OUT)
    found = dict(zip(_ENDS, ordered, strict=False))
    others = {"bos": tokenizer.bos_token_id, "pad": tokenizer.pad_token_id, "unk": tokenizer.unk_token_id}
    return found | {name: int(number) for name, number in others.items() if number is not None}
