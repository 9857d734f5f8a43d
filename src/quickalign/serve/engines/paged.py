"""Continuous batching over keys and values in blocks: which tokens are computed in which step.

A prompt takes all the blocks it may need when it is let in, so that nothing running is ever thrown out. A step feeds
one token for every answer and a bounded part of the prompts that are read. The choices of one prompt share its full
blocks; each reads the rest by itself.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Protocol

from torch import Tensor

from quickalign.serve.engine import EngineInfo, Finish, Generation, TokenOut, TokenScore
from quickalign.serve.sampling import Chosen, Sampler, choose_all, prompt_scores

_PROMPT_TOKENS_A_STEP = 512
_SCORED_TOKENS_A_STEP = 64
"""Places of a prompt whose whole rows of logits are made at once where its log-probs are asked for."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step computes: the new tokens of some rows, one row behind the other.

    Attributes:
        tokens: the new tokens of all rows.
        positions: the place of each in its row.
        scored: the indices in `tokens` whose logits are wanted.
        held: how many tokens each row holds already.
        begins: where each row's new tokens begin in `tokens`, and their end.
        blocks: each row's blocks, one row behind the other.
        block_begins: where each row's blocks begin in `blocks`, and their end.
        longest: the most tokens of a row.
    """

    tokens: Sequence[int]
    positions: Sequence[int]
    scored: Sequence[int]
    held: Sequence[int]
    begins: Sequence[int]
    blocks: Sequence[int]
    block_begins: Sequence[int]
    longest: int


class PagedModel(Protocol):
    """A model whose keys and values lie in blocks."""

    @property
    def block_size(self) -> int:
        """How many tokens a block holds."""

    def compute(self, batch: Batch) -> Tensor:
        """[scored, vocabulary] logits; the tokens' keys and values are in their blocks afterwards."""


class Blocks:
    """Which blocks are free, and how many rows use each of the others."""

    def __init__(self, count: int) -> None:
        self._free = list(range(count - 1, -1, -1))
        self._users: Counter[int] = Counter()

    @property
    def free(self) -> int:
        """How many blocks nobody uses."""
        return len(self._free)

    def take(self, count: int) -> list[int]:
        """`count` free blocks; those that were used last come first, because their memory is there already."""
        taken = [self._free.pop() for _ in range(count)]
        self._users.update(taken)
        return taken

    def share(self, blocks: Sequence[int]) -> list[int]:
        """The same blocks for one more row."""
        self._users.update(blocks)
        return list(blocks)

    def give_back(self, blocks: Sequence[int]) -> None:
        """A row uses these blocks no more."""
        for block in reversed(blocks):
            self._users[block] -= 1
            if not self._users[block]:
                del self._users[block]
                self._free.append(block)


@dataclass(slots=True)
class _Waiting:
    """A prompt that has not been let in, and its choices that are still wanted."""

    number: int
    generation: Generation
    choices: list[int]


@dataclass(slots=True)
class _Row:
    """A prompt that is read, or an answer in the making.

    `choices` are those that begin when the prompt is read: the first goes on in this row, the others share its full
    blocks (`spare` holds what they need besides). `unread` are tokens whose keys and values are not held yet.
    """

    number: int
    generation: Generation
    choices: list[int]
    blocks: list[int]
    spare: list[list[int]]
    unread: Sequence[int]
    sampler: Sampler | None = None
    held: int = 0
    made: int = 0
    scores: list[TokenScore] = field(default_factory=list)
    telling: bool = True

    @property
    def reads(self) -> bool:
        """Whether it has made no token yet."""
        return self.made == 0


@dataclass(frozen=True, slots=True)
class _Part:
    """What one row feeds in a step: `count` of its unread tokens; `ends` says that they are its last.

    The logits of all of them are made, or of the last one where a token is made from it.
    """

    row: _Row
    count: int
    ends: bool
    all_scored: bool = False

    @property
    def scored(self) -> range:
        """The places in the part whose logits are made."""
        if self.all_scored:
            return range(self.count)
        return range(self.count - 1, self.count) if self.ends else range(0)


class PagedCore:
    """Answers token ids with a paged model.

    Args:
        model: the model.
        info: what is told about it; its `slots` bound the rows.
        blocks: how many blocks the model has room for.
    """

    def __init__(self, model: PagedModel, info: EngineInfo, *, blocks: int) -> None:
        self.info = info
        self._model = model
        self._size = model.block_size
        self._count = blocks
        self._blocks = Blocks(blocks)
        self._waiting: deque[_Waiting] = deque()
        self._rows: list[_Row] = []

    def add(self, number: int, generation: Generation) -> None:
        """Take a generation in."""
        first = generation.first
        self._waiting.append(_Waiting(number, generation, list(range(first, first + generation.choices))))

    def cancel(self, number: int, choice: int | None) -> None:
        """Drop one choice of a request, or all of them."""
        everyone: list[_Waiting | _Row] = [*self._waiting, *self._rows]
        for one in everyone:
            if one.number == number:
                one.choices = [other for other in one.choices if choice not in (None, other)]
        self._waiting = deque(one for one in self._waiting if one.choices)
        for row in [row for row in self._rows if not row.choices]:
            self._end(row)

    def check(self) -> None:
        """Nothing: what it needs is in this process."""

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return not self._waiting and not self._rows

    def abandon(self, reason: str) -> list[tuple[int, TokenOut]]:
        """Give every open choice up."""
        everyone: list[_Waiting | _Row] = [*self._rows, *self._waiting]
        open_choices = [(one.number, choice) for one in everyone for choice in one.choices]
        self._waiting.clear()
        self._rows = []
        self._blocks = Blocks(self._count)
        return [(number, TokenOut(choice, None, error=reason)) for number, choice in open_choices]

    def step(self) -> list[tuple[int, TokenOut]]:
        """Compute one token for every answer, and a part of the prompts."""
        while self._waiting and self._let_in(self._waiting[0]):
            self._waiting.popleft()
        parts = list(self._parts())
        if not parts:
            return []
        logits = self._model.compute(self._batch(parts))
        ending, last, at = [], [], 0
        for part in parts:
            rows = logits[at : at + len(part.scored)]
            at += len(part.scored)
            self._read(part, rows)
            if part.ends:
                ending.append(part.row)
                last.append(at - 1)
        return self._answer(ending, logits[last]) if ending else []

    def _let_in(self, waiting: _Waiting) -> bool:
        """Give a prompt its blocks and rows where there are enough; returns whether all of its choices are in.

        One that asks for more blocks than there are gets them alone, some of its choices after the others.
        """
        generation = waiting.generation
        prompt, room = generation.prompt, generation.sampling.max_tokens
        needed = -(-(len(prompt) + room) // self._size)
        apart = needed - self._shared(prompt)
        count = len(waiting.choices) if room else 1
        running = sum(1 + len(row.spare) for row in self._rows)
        if running + count > self.info.slots or needed + (count - 1) * apart > self._blocks.free:
            if self._rows:
                return False
            count = min(count, self.info.slots, 1 + (self._blocks.free - needed) // apart)
        entering = waiting.choices[:count] if room else waiting.choices
        waiting.choices = waiting.choices[len(entering) :]
        spare = [self._blocks.take(apart) for _ in range(count - 1)]
        self._rows.append(_Row(waiting.number, generation, entering, self._blocks.take(needed), spare, prompt))
        return not waiting.choices

    def _shared(self, prompt: Sequence[int]) -> int:
        """How many blocks of `prompt` its choices share. At least its last token is read by each of them."""
        return (len(prompt) - 1) // self._size

    def _parts(self) -> Iterator[_Part]:
        """What is computed now: answers first, then prompts in the order they came."""
        yield from (_Part(row, 1, True) for row in self._rows if not row.reads)
        left = _PROMPT_TOKENS_A_STEP
        for row in self._rows:
            if not row.reads or left <= 0:
                continue
            scored = row.telling and row.generation.sampling.prompt_logprobs is not None
            count = min(left, len(row.unread), _SCORED_TOKENS_A_STEP if scored else left)
            left -= count
            yield _Part(row, count, count == len(row.unread), scored)

    def _batch(self, parts: Sequence[_Part]) -> Batch:
        begins = [0, *accumulate(part.count for part in parts)]
        used = [part.row.blocks[: -(-(part.row.held + part.count) // self._size)] for part in parts]
        return Batch(
            tokens=[token for part in parts for token in part.row.unread[: part.count]],
            positions=[part.row.held + place for part in parts for place in range(part.count)],
            scored=[begin + place for part, begin in zip(parts, begins, strict=False) for place in part.scored],
            held=[part.row.held for part in parts],
            begins=begins,
            blocks=[block for blocks in used for block in blocks],
            block_begins=[0, *accumulate(len(blocks) for blocks in used)],
            longest=max(part.row.held + part.count for part in parts),
        )

    def _read(self, part: _Part, logits: Tensor) -> None:
        """Note that the part's tokens are held, with their scores where asked for."""
        row, top = part.row, part.row.generation.sampling.prompt_logprobs
        if part.all_scored and top is not None:
            targets = row.generation.prompt[row.held + 1 : row.held + part.count + 1]
            row.scores += prompt_scores(logits[: len(targets)], targets, top)
        row.held += part.count
        row.unread = row.unread[part.count :]

    def _answer(self, rows: Sequence[_Row], logits: Tensor) -> list[tuple[int, TokenOut]]:
        """One token for each of `rows`, whose next logits these are."""
        out: list[tuple[int, TokenOut]] = []
        making: list[int] = []
        samplers: list[Sampler] = []
        for index, row in enumerate(rows):
            if row.generation.sampling.max_tokens == 0:
                out += self._only_scored(row)
                continue
            if row.sampler is None:
                self._start_others(row)
                row.sampler = Sampler(
                    row.generation.sampling, row.generation.prompt, row.choices[0] - row.generation.first
                )
            making.append(index)
            samplers.append(row.sampler)
        if not making:
            return out
        chosen = choose_all(logits[making], samplers)
        return out + [(rows[i].number, self._taken(rows[i], one)) for i, one in zip(making, chosen, strict=True)]

    def _only_scored(self, row: _Row) -> list[tuple[int, TokenOut]]:
        scores = self._scores(row)
        told = [(row.number, TokenOut(choice, None, finish="length", prompt=scores)) for choice in row.choices]
        self._end(row)
        return told

    def _start_others(self, row: _Row) -> None:
        """Rows for the other choices of a prompt that has been read."""
        shared = self._shared(row.generation.prompt)
        for choice in row.choices[1:]:
            blocks = self._blocks.share(row.blocks[:shared]) + row.spare.pop()
            self._rows.append(
                _Row(
                    row.number,
                    row.generation,
                    [choice],
                    blocks,
                    [],
                    row.generation.prompt[shared * self._size :],
                    held=shared * self._size,
                    scores=row.scores,
                    telling=False,
                )
            )
        for unused in row.spare:
            self._blocks.give_back(unused)
        row.spare = []
        row.choices = row.choices[:1]

    def _scores(self, row: _Row) -> tuple[TokenScore, ...] | None:
        return tuple(row.scores) if row.generation.sampling.prompt_logprobs is not None else None

    def _taken(self, row: _Row, chosen: Chosen) -> TokenOut:
        sampling = row.generation.sampling
        scores = self._scores(row) if row.reads else None
        row.made += 1
        row.unread = (chosen.token,)
        finish: Finish | None = (
            "stop" if chosen.token in sampling.stop else "length" if row.made == sampling.max_tokens else None
        )
        if finish:
            self._end(row)
        return TokenOut(row.choices[0], chosen.token, chosen.score, finish, scores)

    def _end(self, row: _Row) -> None:
        self._rows.remove(row)
        for blocks in (row.blocks, *row.spare):
            self._blocks.give_back(blocks)
