"""Two answers side by side: which words only one of them has."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

_WORD = re.compile(r"\s+|[A-Za-z0-9_À-ɏ']+|.", re.DOTALL)
_MOST_WORDS = 3000


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text; `differs` where the other text does not have it."""

    text: str
    differs: bool


def mark(left: str, right: str) -> tuple[list[Piece], list[Piece]]:
    """Both texts in pieces. Very long ones are compared as a whole, because a comparison grows with their product."""
    first, second = _WORD.findall(left), _WORD.findall(right)
    if len(first) > _MOST_WORDS or len(second) > _MOST_WORDS:
        return [Piece(left, left != right)], [Piece(right, left != right)]
    blocks = SequenceMatcher(None, first, second, autojunk=False).get_matching_blocks()
    same_left = [(block.a, block.size) for block in blocks]
    same_right = [(block.b, block.size) for block in blocks]
    return _pieces(first, same_left), _pieces(second, same_right)


def _pieces(words: Sequence[str], same: Sequence[tuple[int, int]]) -> list[Piece]:
    found: list[Piece] = []
    position = 0
    for start, size in same:
        if start > position:
            found.append(Piece("".join(words[position:start]), True))
        if size:
            found.append(Piece("".join(words[start : start + size]), False))
        position = start + size
    return found
