"""The small world of the tiny model: intents, sentence frames, slots and answers, read from ``world/*.txt``.

The tables are plain text because they are prose: whoever improves an answer should not need to read Python.
A block starts with ``@ name category`` (an intent) or ``@ name`` (a group of frames that intents share):

========  ==========================================================================================
line      meaning
========  ==========================================================================================
``?``     a frame for the model's text and the preference training split
``+``     a frame for the model's text only; no preference pair has it
``!``     a frame for the held-out split only; the model's text never holds it
``-``     a terse answer (the base model's habit, rejected in preference pairs)
``~``     a careless or dismissive answer (rare in the model's text, rejected in preference pairs)
``1 2 3`` the first, second and third sentence of a full answer; ``*name`` stands for a whole pool
``=``     ``question / other wording | short answer | full answer`` (facts)
``$a,b:`` slot values separated by ``|``; joint slots give ``x = y``
``% n``   a pool of sentences, one a line
========  ==========================================================================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

WORLD = Path(__file__).with_name("world")
_CJK = re.compile(r"[\u4e00-\u9fff]")


@dataclass(frozen=True)
class Slot:
    """Slot names that are drawn together, and the tuples of values they may take."""

    names: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]


@dataclass
class Intent:
    """One thing that a user may want, with every way to say it and every answer to it."""

    name: str
    category: str
    language: str = "en"
    weight: float = 1.0
    frames: list[str] = field(default_factory=list)
    text_frames: list[str] = field(default_factory=list)
    heldout: list[str] = field(default_factory=list)
    slots: list[Slot] = field(default_factory=list)
    terse: list[str] = field(default_factory=list)
    careless: list[str] = field(default_factory=list)
    full: list[list[str]] = field(default_factory=lambda: [[], [], []])


@dataclass
class World:
    """All intents, ready to be sampled."""

    intents: list[Intent]

    def by_name(self, name: str) -> Intent:
        """Return the intent called ``name``; raises ``KeyError`` when there is none."""
        for intent in self.intents:
            if intent.name == name:
                return intent
        raise KeyError(name)


@dataclass
class _Reader:
    """Parsing state: what has been read so far, and which block receives the next line."""

    intents: list[Intent] = field(default_factory=list)
    groups: dict[str, Intent] = field(default_factory=dict)
    pools: dict[str, list[str]] = field(default_factory=dict)
    uses: list[tuple[Intent, str]] = field(default_factory=list)
    block: Intent | None = None
    pool: list[str] | None = None

    def open_block(self, words: list[str]) -> None:
        """Start an intent (name and category) or a group of frames (name only)."""
        self.pool = None
        self.block = Intent(words[0], words[1] if len(words) > 1 else "")
        if len(words) > 1:
            self.intents.append(self.block)
        else:
            self.groups[words[0]] = self.block

    def line(self, text: str) -> None:
        """Take one line that is neither empty nor a comment."""
        mark, rest = text[0], text[1:].strip()
        if mark == "@":
            self.open_block(rest.split())
        elif mark == "%":
            self.pool = self.pools.setdefault(rest, [])
        elif self.pool is not None:
            self.pool.append(text)
        elif self.block is None:
            raise ValueError(f"line outside of any block: {text}")
        else:
            self.detail(self.block, mark, rest, text)

    def detail(self, block: Intent, mark: str, rest: str, text: str) -> None:
        """Add one line to the open block."""
        lists = {"?": block.frames, "+": block.text_frames, "!": block.heldout, "-": block.terse, "~": block.careless}
        if mark in lists:
            lists[mark].append(rest)
        elif mark in "123":
            block.full[int(mark) - 1].append(rest)
        elif mark == "$":
            block.slots.append(_slot(rest))
        elif mark == "=":
            self.intents.append(_fact(block, rest))
        elif text.startswith("frames:"):
            self.uses.append((block, text.removeprefix("frames:").strip()))
        elif text.startswith("weight:"):
            block.weight = float(text.removeprefix("weight:"))
        else:
            raise ValueError(f"cannot read: {text}")

    def finish(self) -> World:
        """Resolve shared frames and pools; drop blocks that only carried fact rows."""
        for intent, group in self.uses:
            intent.frames = self.groups[group].frames + intent.frames
            intent.text_frames = self.groups[group].text_frames + intent.text_frames
            intent.heldout = self.groups[group].heldout + intent.heldout
        intents = [intent for intent in self.intents if intent.frames]
        for intent in intents:
            intent.full = [self._expand(part) for part in intent.full]
            sample = intent.frames[0] + intent.terse[0]
            intent.language = "zh" if _CJK.search(sample) else "en"
        _share_weight(intents)
        return World(intents)

    def _expand(self, part: list[str]) -> list[str]:
        out: list[str] = []
        for sentence in part:
            out.extend(self.pools[sentence[1:]] if sentence.startswith("*") else [sentence])
        return out


def _slot(rest: str) -> Slot:
    names, _, values = rest.partition(":")
    keys = tuple(name.strip() for name in names.split(","))
    tuples = []
    for value in values.split("|"):
        parts = [part.strip() for part in value.split(" = ")] if len(keys) > 1 else [value.strip()]
        if len(parts) != len(keys):
            raise ValueError(f"slot {names}: expected {len(keys)} values in {value!r}")
        tuples.append(tuple(parts))
    return Slot(keys, tuple(tuples))


def _fact(block: Intent, rest: str) -> Intent:
    questions, short, full = (part.strip() for part in rest.split("|"))
    return Intent(
        name=f"{block.name}:{short}",
        category=block.category,
        weight=block.weight,
        frames=[question.strip() for question in questions.split(" / ")],
        terse=[short],
        full=[[full], [], []],
    )


def _share_weight(intents: list[Intent]) -> None:
    """Split a table's weight over its rows, so that a long table does not crowd out everything else."""
    rows: dict[str, int] = {}
    for intent in intents:
        table = intent.name.partition(":")[0]
        rows[table] = rows.get(table, 0) + 1
    for intent in intents:
        intent.weight /= rows[intent.name.partition(":")[0]] ** 0.5


def read_world(folder: Path = WORLD) -> World:
    """Read every table in ``folder`` in name order (the order is part of what the seed reproduces)."""
    reader = _Reader()
    for path in sorted(folder.glob("*.txt")):
        reader.block = None
        reader.pool = None
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.strip() and not line.startswith("#"):
                reader.line(line.strip())
    return reader.finish()
