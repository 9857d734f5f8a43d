"""Validation rows: holding them out, and finding those that are trained on all the same."""

import hashlib
from collections import Counter
from typing import Protocol

import numpy as np
import numpy.typing as npt

from quickalign.core.errors import DataError
from quickalign.data.store import TokenStore

Indices = npt.NDArray[np.int64]


def split(store: TokenStore, share: float, seed: int) -> tuple[Indices, Indices]:
    """Indices of the rows to train on and of those held out, both rising.

    Whole prompts are held out, in an order that depends on their tokens and `seed` only, until `share` (0 to 1) of the
    rows is reached: rows with one prompt are on one side, and so are the examples of one conversation. The order of
    the file does not matter.

    Raises:
        DataError: all rows have the same prompt, so nothing can be held out.
    """
    everything = np.arange(len(store), dtype=np.int64)
    if share <= 0:
        return everything, everything[:0]
    groups: dict[bytes, list[int]] = {}
    key = b""
    for index in range(len(store)):
        if index == 0 or store.rows[index] != store.rows[index - 1]:
            key = _key(store, index, seed)
        groups.setdefault(key, []).append(index)
    if len(groups) < 2:
        raise DataError(
            f"validation_split={share} cannot hold anything out: all rows have the same prompt.",
            "Give a validation file, or set validation_split=0.",
        )
    held = _take(groups, round(share * len(store)))
    return everything[~held], everything[held]


class Contents(Protocol):
    """Rows that can be told apart by what they hold; a `TokenStore`, or some rows of one."""

    def __len__(self) -> int: ...
    def content(self, index: int) -> bytes:
        """See `TokenStore.content`."""


def rows_in_both(train: Contents, validation: Contents) -> int:
    """How many rows of `validation` are in `train` as well, token for token."""
    held = Counter(_digest(validation, index) for index in range(len(validation)))
    found = 0
    for index in range(len(train)):
        found += held.pop(_digest(train, index), 0)
        if not held:
            break
    return found


def _take(groups: dict[bytes, list[int]], wanted: int) -> npt.NDArray[np.bool_]:
    """Mark groups in the order of their keys up to `wanted` rows; at least one group, and never the last."""
    held = np.zeros(sum(map(len, groups.values())), dtype=np.bool_)
    count = 0
    for key in sorted(groups)[:-1]:
        if count >= max(wanted, 1):
            break
        held[groups[key]] = True
        count += len(groups[key])
    return held


def _digest(rows: Contents, index: int) -> bytes:
    return hashlib.blake2b(rows.content(index), digest_size=16).digest()


def _key(store: TokenStore, index: int, seed: int) -> bytes:
    content = store.prompt(index).astype("<i4").tobytes()
    return hashlib.blake2b(content, digest_size=16, salt=seed.to_bytes(8, "little")).digest()
