"""Cutting an optimiser batch into packed token sequences in which every prompt stands once.

A packed sequence is a row of groups `[prompt | answer | answer | ...]`, a group for every distinct prompt in it. A
token sees the tokens before it in its own group, but not those of another answer, and an answer's positions go on from
the prompt's length. So every token sees and is exactly what it would be in a sequence of its own.

An answer's last token is not part of the sequence: no token is predicted from it. The first token of an answer is
predicted from the prompt's last token; without a prompt it has no prediction and is not scored.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quickalign.data.encode import Encoded, EncodedPair, IntArray


@dataclass(frozen=True, slots=True)
class Group:
    """Where one prompt and its answers stand in a packed sequence: the prompt in [start, answers[0]).

    Attributes:
        start: where the prompt begins.
        answers: where each answer begins, in order; the last number is the group's end. An answer may be empty.
    """

    start: int
    answers: tuple[int, ...]

    @property
    def prompt(self) -> int:
        """Length of the prompt."""
        return self.answers[0] - self.start

    @property
    def end(self) -> int:
        """Where the group ends."""
        return self.answers[-1]


@dataclass(frozen=True, slots=True)
class PackedSequence:
    """Some rows of an optimiser batch as one sequence of tokens.

    Scored tokens are ordered by row, then by answer, then by their place in the answer.

    Attributes:
        rows: which rows of the optimiser batch these are, by position, ascending.
        ids: [length] int32 token ids.
        positions: [length] int32 position of every token in its own prompt and answer.
        groups: the groups in their order; together they cover the sequence.
        sources: [scored] int32 where each scored token is predicted.
        targets: [scored] int32 ids of the scored tokens.
        lengths: [rows, answers] int32 scored tokens of each answer.
    """

    rows: tuple[int, ...]
    ids: IntArray
    positions: IntArray
    groups: tuple[Group, ...]
    sources: IntArray
    targets: IntArray
    lengths: IntArray


def answers_of(row: Encoded) -> tuple[IntArray, ...]:
    """The token ids of a row's answers: chosen and rejected, or the response alone."""
    return (row.chosen, row.rejected) if isinstance(row, EncodedPair) else (row.response,)


def pack(rows: Sequence[Encoded], token_budget: int) -> list[PackedSequence]:
    """Cut `rows`, one optimiser batch, into sequences of at most `token_budget` tokens each.

    Rows with the same prompt share it where they fall into the same sequence. A row that is longer than the budget gets
    a sequence of its own. Groups are placed first-fit by falling length, the same for the same rows every time.
    """
    groups = _groups(rows, token_budget)
    groups.sort(key=lambda group: (-group.length, group.rows[0]))
    bins: list[list[_Planned]] = []
    rooms: list[int] = []
    for group in groups:
        place = next((i for i, room in enumerate(rooms) if room >= group.length), len(bins))
        if place == len(bins):
            bins.append([])
            rooms.append(token_budget)
        bins[place].append(group)
        rooms[place] -= group.length
    return [_lay_out(rows, content) for content in bins]


@dataclass(slots=True)
class _Planned:
    """Rows that share a prompt and fit into the budget together."""

    rows: list[int]
    length: int


def _groups(rows: Sequence[Encoded], token_budget: int) -> list[_Planned]:
    """Gather rows by prompt; a prompt whose rows do not fit the budget together is repeated."""
    groups: list[_Planned] = []
    open_groups: dict[bytes, _Planned] = {}
    for position, row in enumerate(rows):
        added = sum(len(answer) - 1 for answer in answers_of(row))
        key = row.prompt.tobytes()
        group = open_groups.get(key)
        if group is None or group.length + added > token_budget:
            group = _Planned([], len(row.prompt))
            groups.append(group)
            open_groups[key] = group
        group.rows.append(position)
        group.length += added
    return groups


def _lay_out(rows: Sequence[Encoded], content: Sequence[_Planned]) -> PackedSequence:
    ids: list[IntArray] = []
    positions: list[IntArray] = []
    groups: list[Group] = []
    scored: dict[int, list[tuple[IntArray, IntArray]]] = {}
    end = 0
    for planned in content:
        prompt = rows[planned.rows[0]].prompt
        start, end = end, end + len(prompt)
        starts = [end]
        ids.append(prompt)
        positions.append(np.arange(len(prompt), dtype=np.int32))
        for position in planned.rows:
            for answer in answers_of(rows[position]):
                ids.append(answer[:-1])
                positions.append(np.arange(len(prompt), len(prompt) + len(answer) - 1, dtype=np.int32))
                scored.setdefault(position, []).append(_scored(answer, end, start + len(prompt) - 1, len(prompt)))
                end += len(answer) - 1
                starts.append(end)
        groups.append(Group(start, tuple(starts)))
    order = sorted(scored)
    parts = [part for position in order for part in scored[position]]
    return PackedSequence(
        rows=tuple(order),
        ids=np.concatenate(ids).astype(np.int32, copy=False),
        positions=np.concatenate(positions),
        groups=tuple(groups),
        sources=np.concatenate([sources for sources, _ in parts]),
        targets=np.concatenate([targets for _, targets in parts]),
        lengths=np.array([[len(t) for _, t in scored[position]] for position in order], dtype=np.int32),
    )


def _scored(answer: IntArray, start: int, prompt_end: int, prompt: int) -> tuple[IntArray, IntArray]:
    """Where the tokens of an answer that stands at `start` are predicted, and which of them are."""
    inner = np.arange(start, start + len(answer) - 1, dtype=np.int32)
    if prompt == 0:
        return inner, answer[1:]
    return np.concatenate([np.array([prompt_end], dtype=np.int32), inner]), answer
