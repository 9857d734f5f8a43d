"""Texts of token ids as one sequence in which every common beginning stands once: their prefix tree, depth first.

In this order a token is seen by those that follow it, up to where the texts that begin with it end. So one number a
token, its `reach`, says who sees whom: a query at q sees a key at k where k <= q < reach[k].
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from quickalign.data.encode import IntArray


@dataclass(frozen=True, slots=True)
class PrefixTree:
    """Some texts, laid out; a token stands at its depth in the tree, which is its place in every text it belongs to.

    Attributes:
        ids: [length] int32 token ids.
        positions: [length] int32 place of each token in its texts.
        reach: [length] int32 where each token is no longer seen.
        places: for each text, in the given order, int32 where each of its tokens stands.
    """

    ids: IntArray
    positions: IntArray
    reach: IntArray
    places: tuple[IntArray, ...]


def lay_out(texts: Sequence[IntArray]) -> PrefixTree:
    """The tree of `texts`; equal texts are one, and an empty one has no token."""
    order, shared = _sorted(texts)
    total = sum(map(len, texts)) - sum(shared)
    ids, positions, reach = (np.empty(total, dtype=np.int32) for _ in range(3))
    places: list[IntArray] = [_NONE] * len(texts)
    end, path = 0, _NONE
    for number, common in zip(order, [0, *shared], strict=True):
        reach[path[common:]] = end
        text = texts[number]
        start, end = end, end + len(text) - common
        ids[start:end] = text[common:]
        positions[start:end] = np.arange(common, len(text))
        path = np.concatenate([path[:common], np.arange(start, end, dtype=np.int32)])
        places[number] = path
    reach[path] = end
    return PrefixTree(ids, positions, reach, tuple(places))


class Beginnings:
    """How many tokens texts have in common from their start."""

    def __init__(self, texts: Sequence[IntArray]) -> None:
        self._lengths = [len(text) for text in texts]
        order, shared = _sorted(texts)
        self._order, self._shared = np.array(order, dtype=np.int64), np.array(shared, dtype=np.int32)
        self._rank = np.argsort(self._order)

    def of(self, number: int) -> IntArray:
        """[texts] tokens that text `number` has in common with each text; its own length with itself."""
        common = np.empty(len(self._order), dtype=np.int32)
        rank = int(self._rank[number])
        # In sorted order, two texts have in common what all neighbours between them have.
        common[self._order[:rank]] = np.minimum.accumulate(self._shared[:rank][::-1])[::-1]
        common[self._order[rank + 1 :]] = np.minimum.accumulate(self._shared[rank:])
        common[number] = self._lengths[number]
        return common


def common_beginning(one: IntArray, other: IntArray) -> int:
    """How many tokens two texts have in common from their start."""
    length = min(len(one), len(other))
    differences = np.flatnonzero(one[:length] != other[:length])
    return int(differences[0]) if len(differences) else length


def beginning_of_all(texts: Iterable[IntArray]) -> int:
    """How many tokens all texts have in common from their start; 0 of none."""
    common: IntArray | None = None
    content = b""
    for text in texts:
        if common is None:
            common, content = text, text.tobytes()
        # Bytes are compared in a fraction of the time, and nearly all texts of a million have all of it.
        elif text[: len(common)].tobytes() != content:
            common = common[: common_beginning(common, text)]
            content = common.tobytes()
        if not content:
            return 0
    return 0 if common is None else len(common)


_NONE = np.empty(0, dtype=np.int32)


def _sorted(texts: Sequence[IntArray]) -> tuple[list[int], list[int]]:
    """The texts' numbers in lexicographic order, and how much each but the first has in common with the one before."""
    # Bytes compare as the ids do when the highest comes first.
    keys = [text.astype(">u4").tobytes() for text in texts]
    order = sorted(range(len(texts)), key=keys.__getitem__)
    return order, [common_beginning(texts[one], texts[other]) for one, other in pairwise(order)]
