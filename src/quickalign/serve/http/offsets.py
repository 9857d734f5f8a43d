"""Where in a text each of its tokens begins: a token may be a part of a character, and some have no text at all."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence
from itertools import takewhile

from quickalign.serve.vocabulary import Vocabulary


class Offsets:
    """Follows a text's tokens, in characters.

    Args:
        vocabulary: the bytes of tokens.

    Attributes:
        at: where the next token begins, if it begins with a character of its own.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._begin = self.at = 0
        self._written = False
        self._characters = codecs.getincrementaldecoder("utf-8")("replace")

    def jump(self, to: int) -> None:
        """Another text begins at `to`."""
        self._begin = self.at = to
        self._characters.reset()

    def take_all(self, tokens: Sequence[int], text: str) -> list[int]:
        """Where each of `tokens` begins in the whole `text` that they are of.

        Some tokenizers write a space there first, and behind every mark, that the text does not have. It shows in how
        many spaces there are.
        """
        places = []
        for index, token in enumerate(tokens):
            if index == 0 or self._vocabulary.is_special(tokens[index - 1]):
                written = self._spaces(tokens[place] for place in range(index, len(tokens)))
                self._written = written > _spaces(text[self.at : self.at + written])
            places.append(self.take(token, text, 0))
        return places

    def _spaces(self, tokens: Iterable[int]) -> int:
        """How many spaces these tokens begin with, up to the next mark."""
        count = 0
        for token in takewhile(lambda one: not self._vocabulary.is_special(one), tokens):
            content = self._vocabulary.content(token)
            count += len(content) - len(content.lstrip(b" "))
            if content.strip(b" "):
                break
        return count

    def take(self, token: int, text: str, begins: int) -> int:
        """Where `token` begins: at its first character, also where it has only a part of that.

        Args:
            token: the next token.
            text: the text that it stands in, as far as it is known.
            begins: where `text` begins itself.
        """
        content = self._vocabulary.content(token)
        if self._vocabulary.is_special(token):  # the text has it where it was asked in so many words
            here, name = self.at, content.decode()
            self.at += len(name) if text.startswith(name, here - begins) else 0
            return here
        if self._characters.getstate()[0] and not _continues(content):  # the character before was never finished
            self.at += len(self._characters.decode(b"", final=True))
        here, said = self.at, self._characters.decode(content)
        first = here == self._begin and not text.startswith(" ", here - begins)
        if said.startswith(" ") and (self._written or first):
            said = said[1:]  # some tokenizers write a space before the first word, which is no part of the text
            self._written = False
        self.at += len(said)
        return here


def _spaces(text: str) -> int:
    return len(text) - len(text.lstrip(" "))


def _continues(content: bytes) -> bool:
    """Whether these bytes go on with a character, as UTF-8 writes them."""
    return not content or content[0] & 0b1100_0000 == 0b1000_0000
