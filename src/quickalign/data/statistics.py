"""Counting what a file holds while its rows go by, in memory that grows with distinct values only, not with texts."""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence

from quickalign.data.records import PreferenceRecord, Record
from quickalign.data.report import BadRow, Repetition

KEPT_BAD_ROWS = 10_000
"""How many bad rows a report keeps one by one; all are counted."""

KEPT_LABELS = 200
"""How many different categories are counted by name; the rest is counted as `others`."""

_SAMPLE = 200
_SCRIPTS = (
    ("Japanese", re.compile(r"[\u3040-\u30ff]")),
    ("Korean", re.compile(r"[\uac00-\ud7af]")),
    ("Chinese", re.compile(r"[\u4e00-\u9fff]")),
    ("Cyrillic script", re.compile(r"[\u0400-\u04ff]")),
    ("Arabic script", re.compile(r"[\u0600-\u06ff]")),
    ("Devanagari script", re.compile(r"[\u0900-\u097f]")),
    ("Latin script", re.compile(r"[A-Za-z\u00c0-\u024f]")),
)


def script_of(text: str) -> str:
    """The language that the writing of `text` shows, or its script where several languages share it.

    Han characters beside kana are Japanese; any text with a fair share of them and no kana is Chinese, because Chinese
    texts mix in Latin names. Only the first characters are looked at.
    """
    sample = text[:_SAMPLE]
    counts = {name: len(pattern.findall(sample)) for name, pattern in _SCRIPTS}
    if counts["Japanese"] and counts["Chinese"]:
        return "Japanese"
    counts["Chinese"] *= 3  # a Han character is a word or half of one
    name = max(counts, key=lambda script: counts[script])
    return name if counts[name] else "no letters"


class RowStatistics:
    """Counts over rows and texts; knows nothing of tokens."""

    def __init__(self) -> None:
        self.rows = self.ok = self.bad = self.examples = 0
        self.bad_rows: list[BadRow] = []
        self.empty_answers = self.same_answers = 0
        self.categories: Counter[str] = Counter()
        self.languages: Counter[str] = Counter()
        self.unused_fields: set[str] = set()
        self._seen: set[bytes] = set()
        self._prompts: set[bytes] = set()
        self._repeated_prompts: set[bytes] = set()
        self._duplicates = self._contradictions = 0

    def add_bad(self, bad: BadRow) -> None:
        """Count a row that cannot be used."""
        self.rows += 1
        self.bad += 1
        if len(self.bad_rows) < KEPT_BAD_ROWS:
            self.bad_rows.append(bad)
        self.empty_answers += _is_empty_answer(bad)

    def add(self, records: Sequence[Record]) -> None:
        """Count a usable row, which is one example or several."""
        self.rows += 1
        self.ok += 1
        self.examples += len(records)
        for record in records:
            if record.category is not None:
                known = record.category in self.categories or len(self.categories) < KEPT_LABELS
                self.categories[record.category if known else "others"] += 1
            self.languages[record.language or script_of(record.prompt[-1].content)] += 1
            self._compare(record)

    def repetition(self) -> Repetition:
        """Duplicates and contradictions so far."""
        return Repetition(
            duplicates=self._duplicates,
            contradictions=self._contradictions,
            prompts=len(self._prompts),
            prompts_with_several_rows=len(self._repeated_prompts),
        )

    def _compare(self, record: Record) -> None:
        prompt = _digest(*(part for message in record.prompt for part in (message.role, message.content)))
        (self._repeated_prompts if prompt in self._prompts else self._prompts).add(prompt)
        if isinstance(record, PreferenceRecord):
            self.same_answers += record.chosen == record.rejected
            whole = _digest(record.chosen, record.rejected, seed=prompt)
            if record.chosen != record.rejected:
                self._contradictions += _digest(record.rejected, record.chosen, seed=prompt) in self._seen
        else:
            whole = _digest(record.response, seed=prompt)
        self._duplicates += whole in self._seen
        self._seen.add(whole)


def _digest(*texts: str, seed: bytes = b"") -> bytes:
    """Eight bytes for a sequence of texts; a million rows collide with a chance of 3e-8."""
    state = hashlib.blake2b(seed, digest_size=8)
    for text in texts:
        content = text.encode("utf-8", "surrogatepass")
        state.update(len(content).to_bytes(8, "little"))
        state.update(content)
    return state.digest()


def _is_empty_answer(bad: BadRow) -> bool:
    answer = bad.field.split(".")[0].split("[")[0]
    is_answer = answer in ("chosen", "rejected", "output", "response_0", "response_1") or answer.endswith("_output")
    return is_answer and (bad.found.startswith("an empty text") or bad.found.endswith("blank characters"))
