"""What the platform says, in the reader's language.

The platform and the rooms below it write English sentences with values in them, and know no languages. Here they are
once more as patterns: a sentence that fits one is written again from its translation. One that fits none stays English,
as a text does that has no translation. A test holds every pattern against the code that says it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache

from quickalign.console.language import Words, words_of
from quickalign.console.said import AT_FIELD, SAID
from quickalign.console.told import PHASE, TOLD
from quickalign.core.errors import QuickalignError

_VALUE = re.compile(r"%\((\w+)\)s")
_WORDS_OF_OURS = frozenset(
    {
        "state", "action", "why", "meaning", "what", "kept", "found", "expected", "where", "how", "last", "message",
        "accuracy", "before", "same", "stored", "count", "which", "change", "further", "foreign", "place", "rows",
        "problem",
    }
)  # fmt: skip
"""Values that are themselves words of the platform; all others are the user's, and stay as they are."""

_NUMBERS = frozenset({"number", "step", "total", "seconds", "loss", "perplexity"})
_NUMBER = r"-?\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]\d+)?%?|nan|inf"
_SHAPES = {
    "signal": r"\w+",
    "variables": r"[A-Z]+_[A-Z_]+(?: and [A-Z]+_[A-Z_]+)*",
    "foreign": r"the byte 0x.+",
    "found": ".*",
    "formats": r"[\w ,-]+",
} | dict.fromkeys(_NUMBERS, _NUMBER)
"""What may stand for such a value; for others anything may."""

_BETWEEN_SENTENCES = re.compile(r"(?<=[.!?])\s+(?=\S)")
_KEPT = 2048

_LONGEST = 1000
"""What is longer is no sentence but somebody's output, and would keep the patterns busy."""

_FIELD_FIRST = re.compile(r"(?P<where>[\w.]+): (?P<why>.+)\.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as a page shows it."""

    message: str
    remedy: str | None
    field: str | None

    @property
    def text(self) -> str:
        """The sentence and its remedy."""
        if not self.remedy:
            return self.message
        return f"{self.message}{_gap(self.message)}{self.remedy}"


class Sentences:
    """Says in one language what the platform said in English."""

    def __init__(self, words: Words, said: Iterable[str] = (*SAID, *TOLD)) -> None:
        self._texts = words.texts
        # those with the most words of their own first: they say more than one that fits nearly everything
        known = sorted((text for text in said if text in words.texts), key=_own_letters, reverse=True)
        self._patterns = [(_longest_part(text), text, words.texts[text]) for text in known]
        # a page of events says the same again and again
        self.say = lru_cache(_KEPT)(self._say)
        """A text in this language; as it is where it is not known."""

    def phase(self, text: str) -> str:
        """A phase of a run in this language: its name, and what it is about."""
        name, colon, about = text.partition(": ")
        known = self._texts.get(name, name)
        if not colon:
            return known
        return self._texts.get(PHASE, PHASE) % {"name": known, "about": self.say(about)}

    def problem(self, error: QuickalignError) -> Problem:
        """An error in this language."""
        return Problem(self.say(error.message), self.say(error.remedy) if error.remedy else None, error.field)

    def _say(self, text: str) -> str:
        return text if len(text) > _LONGEST else self._known(text) or text

    def _known(self, text: str) -> str | None:
        if found := self._texts.get(text.replace("%", "%%")):
            return found.replace("%%", "%")
        parts = _BETWEEN_SENTENCES.split(text)
        # ahead of patterns whose last value would take in the sentences behind it
        if len(parts) > 1 and all(known := [self._known(part) for part in parts]):
            return _joined(filter(None, known))
        for part, said, translated in self._patterns:
            # most patterns are no match, which is told at once by what they hold besides values
            if part in text and (match := _pattern(said).fullmatch(text)):
                return translated % self._values(match.groupdict())
        if (match := _FIELD_FIRST.fullmatch(text)) and (why := self._known(match["why"])):
            return self._texts.get(AT_FIELD, AT_FIELD) % {"where": match["where"], "why": why}
        if len(parts) > 1 and any(known):
            return _joined(found or part for part, found in zip(parts, known, strict=True))
        return None

    def _values(self, values: Mapping[str, str]) -> dict[str, str]:
        found = {name: self._word(value) if name in _WORDS_OF_OURS else value for name, value in values.items()}
        # an English ending, which has no place in another language
        return found | {name: "" for name in found if name == "plural"}

    def _word(self, text: str) -> str:
        """A word or a sentence inside another, where it may stand in brackets and begin with a small letter."""
        if not (inner := text.strip(" ()")):
            return text
        if found := self._known(text):
            return found
        begin, end = text.split(inner, 1)
        return begin + (self._known(inner) or self._known(inner[0].upper() + inner[1:]) or inner) + end


@cache
def sentences_of(tag: str) -> Sentences:
    """The sentences in the language with this tag."""
    return Sentences(words_of(tag))


def _joined(parts: Iterable[str]) -> str:
    said = ""
    for part in parts:
        said += _gap(said) + part
    return said


def _gap(before: str) -> str:
    """What stands between two sentences: nothing behind a wide full stop."""
    return " " if before and before[-1].isascii() else ""


def _own_letters(text: str) -> int:
    return len(_VALUE.sub("", text))


def _longest_part(text: str) -> str:
    return max(_VALUE.split(text.replace("%%", "%"))[::2], key=len)


@cache
def _pattern(text: str) -> re.Pattern[str]:
    parts = _VALUE.split(text.replace("%%", "%"))
    written = [_value(part) if place % 2 else re.escape(part) for place, part in enumerate(parts)]
    return re.compile("".join(written), re.DOTALL)


def _value(name: str) -> str:
    return f"(?P<{name}>{_SHAPES.get(name, '.*?')})"
