"""The console's languages: gettext catalogues as they are edited, and numbers, times and sizes as each writes them."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from importlib import resources
from typing import Any

from babel import Locale
from babel.dates import format_datetime, format_timedelta
from babel.messages.pofile import read_po
from babel.numbers import format_compact_decimal, format_decimal, format_percent

LANGUAGES: Mapping[str, str] = {"en": "English", "zh": "中文"}
"""The languages by their tags, with the names that their speakers read."""

_KEPT = 4096
_SIZES = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


@dataclass(frozen=True, slots=True)
class Words:
    """One language. A text without a translation stays English."""

    tag: str
    texts: Mapping[str, str] = field(repr=False)
    plurals: Mapping[str, tuple[str, ...]] = field(repr=False)
    locale: Locale = field(repr=False)

    def gettext(self, text: str) -> str:
        """`text` in this language."""
        return self.texts.get(text, text)

    def ngettext(self, one: str, many: str, number: int) -> str:
        """The form for `number` things."""
        forms = self.plurals.get(one)
        if forms is None:
            return one if number == 1 else many
        return forms[min(self.locale.plural_form(number) != "one" and len(forms) > 1, len(forms) - 1)]

    def number(self, value: float | None, digits: int = 3) -> str:
        """A number with at most that many digits after the point; a dash for what is not known."""
        if value is None:
            return "–"
        pattern = "#,##0" if float(value).is_integer() else f"#,##0.{'#' * digits}"
        return _decimal(value, pattern, self.locale)

    def compact(self, value: float) -> str:
        """A large number in a few characters: 7.6B, 76亿."""
        return _compact(value, self.locale)

    def percent(self, share: float | None) -> str:
        """A share between 0 and 1."""
        return "–" if share is None else str(format_percent(share, "0.#%", locale=self.locale))

    def size(self, number: float | None) -> str:
        """Bytes in the largest unit that leaves a number above 1."""
        if number is None:
            return "–"
        unit, scale = next(((unit, scale) for unit, scale in _SIZES if number >= scale), ("B", 1.0))
        return f"{self.number(number / scale, 1)} {unit}"

    def moment(self, seconds: float) -> str:
        """A time since 1970 as date and time, in UTC."""
        return _moment(seconds, self.locale)

    def ago(self, seconds: float) -> str:
        """How long ago, or how far ahead, a time since 1970 is."""
        return str(format_timedelta(timedelta(seconds=seconds - time.time()), add_direction=True, locale=self.locale))

    def lasting(self, seconds: float | None) -> str:
        """A duration in its largest unit."""
        if seconds is None:
            return "–"
        return str(format_timedelta(timedelta(seconds=max(seconds, 1.0)), threshold=1.2, locale=self.locale))


# A list shows the same numbers and times whenever it is looked at, and Babel takes long over each.
@lru_cache(_KEPT)
def _decimal(value: float, pattern: str, locale: Locale) -> str:
    return str(format_decimal(value, pattern, locale=locale))


@lru_cache(_KEPT)
def _compact(value: float, locale: Locale) -> str:
    return str(format_compact_decimal(value, locale=locale, fraction_digits=1))


@lru_cache(_KEPT)
def _moment(seconds: float, locale: Locale) -> str:
    return f"{format_datetime(datetime.fromtimestamp(seconds, UTC), 'medium', locale=locale)} UTC"


@cache
def words_of(tag: str) -> Words:
    """The language with this tag; English for one that is not spoken here."""
    if tag not in LANGUAGES:
        return words_of("en")
    locale = Locale.parse("zh_Hans_CN" if tag == "zh" else tag)
    texts: dict[str, str] = {}
    plurals: dict[str, tuple[str, ...]] = {}
    file = resources.files("quickalign.console") / "locale" / tag / "LC_MESSAGES" / "console.po"
    if file.is_file():
        with file.open("rb") as stream:
            for message in read_po(stream):
                _add(message.id, message.string, texts, plurals)
    return Words(tag, texts, plurals, locale)


def _add(key: Any, text: Any, texts: dict[str, str], plurals: dict[str, tuple[str, ...]]) -> None:
    if isinstance(key, tuple):
        forms = tuple(form for form in (text if isinstance(text, tuple) else (text,)) if form)
        if forms:
            plurals[key[0]] = forms
    elif key and text:
        texts[key] = text


def choose(wanted: str | None, accepted: str) -> str:
    """The tag of the language to speak: the one that was chosen, else the browser's first that is spoken here.

    Args:
        wanted: what the user chose, if anything.
        accepted: the Accept-Language header.
    """
    if wanted is not None and wanted in LANGUAGES:
        return wanted
    return next((tag for tag in _preferred(accepted) if tag in LANGUAGES), "en")


def _preferred(accepted: str) -> Iterable[str]:
    weighted = []
    for position, part in enumerate(accepted[:500].split(",")):
        tag, _, quality = part.partition(";")
        try:
            weight = float(quality.strip().removeprefix("q=") or 1)
        except ValueError:
            weight = 0.0
        if weight > 0:
            weighted.append((-weight, position, tag.strip().lower().partition("-")[0]))
    return [tag for _, _, tag in sorted(weighted)]
