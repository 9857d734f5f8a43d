"""Cutting an optimiser batch into packed token sequences in which every beginning stands once.

The texts of a packed sequence are prompts with an answer each, and it is their prefix tree (`prefix_tree`): a prompt
stands once for all its answers, a template's frame or a system prompt once for all rows, and the earlier turns of a
dialogue once for all rows that go on from them. A token sees what stands before it in its own text, and its position is
its place there. So every token sees and is exactly what it would be in a sequence of its own.

An answer's last token is not part of the sequence: no token is predicted from it. The first token of an answer is
predicted from the prompt's last token; without a prompt it has no prediction and is not scored.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quickalign.data.encode import EncodedRow, IntArray
from quickalign.data.prefix_tree import Beginnings, lay_out


@dataclass(frozen=True, slots=True)
class PackedSequence:
    """Some rows of an optimiser batch as one sequence of tokens.

    Scored tokens are ordered by row, then by answer, then by their place in the answer.

    Attributes:
        rows: which rows of the optimiser batch these are, by position, ascending.
        ids: [length] int32 token ids.
        positions: [length] int32 position of every token in its own prompt and answer.
        reach: [length] int32 where each token is no longer seen: a query at q sees a key at k where k <= q < reach[k].
        sources: [scored] int32 where each scored token is predicted.
        targets: [scored] int32 ids of the scored tokens.
        lengths: [rows, answers] int32 scored tokens of each answer.
    """

    rows: tuple[int, ...]
    ids: IntArray
    positions: IntArray
    reach: IntArray
    sources: IntArray
    targets: IntArray
    lengths: IntArray


def pack(rows: Sequence[EncodedRow], token_budget: int) -> list[PackedSequence]:
    """Cut `rows`, one optimiser batch, into sequences of at most `token_budget` tokens each.

    A row that is longer than the budget gets a sequence of its own. Rows of one prompt stay together where they fit;
    then the longest come first, each to the sequence with which it has most in common of those that have room for the
    rest of it, the first of equals. The same rows are cut the same way every time.
    """
    groups = _groups(rows, token_budget)
    groups.sort(key=lambda group: (-group.length, group.rows[0]))
    beginnings = Beginnings([rows[group.rows[0]].prompt for group in groups])
    room = np.empty(len(groups), dtype=np.int64)
    sequence_of = np.empty(len(groups), dtype=np.int64)
    contents: list[list[int]] = []
    for number, group in enumerate(groups):
        shared = np.zeros(len(contents), dtype=np.int64)
        np.maximum.at(shared, sequence_of[:number], beginnings.of(number)[:number])
        fits = room[: len(contents)] >= group.length - shared
        if fits.any():
            place = int(np.where(fits, shared, -1).argmax())
            room[place] -= group.length - shared[place]
        else:
            place = len(contents)
            contents.append([])
            room[place] = token_budget - group.length
        sequence_of[number] = place
        contents[place] += group.rows
    return [_sequence(rows, sorted(content)) for content in contents]


@dataclass(slots=True)
class _Group:
    """Rows that share a prompt and fit into the budget together; `length` counts the prompt once."""

    rows: list[int]
    length: int


def _groups(rows: Sequence[EncodedRow], token_budget: int) -> list[_Group]:
    """Gather rows by prompt; a prompt whose rows do not fit the budget together is repeated."""
    groups: list[_Group] = []
    open_groups: dict[bytes, _Group] = {}
    for position, row in enumerate(rows):
        added = sum(len(answer) - 1 for answer in row.answers)
        key = row.prompt.tobytes()
        group = open_groups.get(key)
        if group is None or group.length + added > token_budget:
            group = _Group([], len(row.prompt))
            groups.append(group)
            open_groups[key] = group
        group.rows.append(position)
        group.length += added
    return groups


def _sequence(rows: Sequence[EncodedRow], content: Sequence[int]) -> PackedSequence:
    answers = [(rows[position].prompt, answer) for position in content for answer in rows[position].answers]
    tree = lay_out([np.concatenate([prompt, answer[:-1]]) for prompt, answer in answers])
    # What follows a token is predicted from it, so the first token of an answer needs one before it.
    scored = [
        (places[max(len(prompt) - 1, 0) :], answer if len(prompt) else answer[1:])
        for (prompt, answer), places in zip(answers, tree.places, strict=True)
    ]
    return PackedSequence(
        rows=tuple(content),
        ids=tree.ids,
        positions=tree.positions,
        reach=tree.reach,
        sources=np.concatenate([sources for sources, _ in scored]),
        targets=np.concatenate([targets for _, targets in scored]),
        lengths=np.array([len(targets) for _, targets in scored], dtype=np.int32).reshape(len(content), -1),
    )
