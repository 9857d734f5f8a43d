"""From text to token ids, with the boundary between prompt and answer fixed where a server has it.

A server tokenises the prompt alone and the model goes on from there. So the ids of a prompt never depend on its answer:
a pair's two answers and the later service see the same prompt ids. Trainers that tokenise prompt and answer together
and take the common prefix agree with this wherever no token reaches over the boundary, and train a prompt that is never
served where one does.
"""

from collections.abc import Sequence
from typing import Protocol, cast

from tokenizers import Tokenizer as Backend
from transformers import PreTrainedTokenizerBase

_PROBES = (("Hello", "World"), ("\n", "abc"), ("a:", " b"), ("x", "好"))
_ANCHOR = "\n"


class _Encoding(Protocol):
    @property
    def ids(self) -> list[int]: ...
    @property
    def offsets(self) -> list[tuple[int, int]]: ...


class TextTokens:
    """A tokenizer seen as a function from texts to ids, without the tokens it would add around a text.

    `begin` and `end` are the ids it would add in front of and behind a plain text, such as a begin token.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._backend = _own_backend(tokenizer)
        self.begin, self.end = self._surroundings()
        self._separable = all(self._joins_cleanly(*probe) for probe in _PROBES)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without added begin or end tokens."""
        if not texts:
            return []
        if self._backend is None:
            encoded = self._tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False)
            return cast("list[list[int]]", encoded["input_ids"])
        return [encoding.ids for encoding in self._backend.encode_batch_fast(list(texts), add_special_tokens=False)]

    def answers(
        self, prompts: Sequence[str], prompt_ids: Sequence[list[int]], answers: Sequence[str]
    ) -> list[list[int]]:
        """Token ids of each answer as the continuation of its prompt.

        Byte-level tokenizers cut a text at the boundary in the same way whether or not the prompt stands before it, so
        the answer is tokenised alone. Tokenizers that put a mark in front of a text's first word (SentencePiece) would
        add a space that is not there, so for those prompt and answer are tokenised together; where a token then
        reaches over the boundary, the answer is tokenised behind a line break, which no token reaches over.
        """
        if self._separable:
            return self.ids(answers)
        joined = self.ids([prompt + answer for prompt, answer in zip(prompts, answers, strict=True)])
        return [
            whole[len(before) :] if whole[: len(before)] == before else self._anchored(answer)
            for whole, before, answer in zip(joined, prompt_ids, answers, strict=True)
        ]

    def tail(self, text: str, count: int) -> str:
        """The end of `text` that holds at most its last `count` tokens, cut between characters."""
        if count <= 0:
            return ""
        if self._backend is None:
            ids = self.ids([text])[0]
            return text if len(ids) <= count else cast("str", self._tokenizer.decode(ids[-count:]))
        offsets = cast("_Encoding", self._backend.encode(text, add_special_tokens=False)).offsets
        if len(offsets) <= count:
            return text
        # The end of the last token that goes, not the start of the first that stays: some tokenizers leave the
        # space before a word out of its offsets.
        return text[max(offsets[-count - 1][1], 1) :]

    def _anchored(self, answer: str) -> list[int]:
        anchor, whole = self.ids([_ANCHOR, _ANCHOR + answer])
        return whole[len(anchor) :] if whole[: len(anchor)] == anchor else self.ids([answer])[0]

    def _joins_cleanly(self, before: str, after: str) -> bool:
        first, second, whole = self.ids([before, after, before + after])
        return whole == first + second or whole[: len(first)] != first

    def _surroundings(self) -> tuple[list[int], list[int]]:
        plain = self.ids(["a"])[0]
        whole = cast("list[int]", self._tokenizer("a", return_attention_mask=False)["input_ids"])
        for start in range(len(whole) - len(plain) + 1):
            if whole[start : start + len(plain)] == plain:
                return whole[:start], whole[start + len(plain) :]
        return [], []


def _own_backend(tokenizer: PreTrainedTokenizerBase) -> Backend | None:
    """A private copy of a fast tokenizer, so that neither side's padding or truncation settings reach the other."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Backend):
        return None
    copy = Backend.from_str(backend.to_str())
    copy.no_truncation()
    copy.no_padding()
    return copy
