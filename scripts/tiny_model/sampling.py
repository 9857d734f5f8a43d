"""Draws prompts and answers from an intent: fills slots, joins sentences, keeps the grammar of both languages."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Literal

from scripts.tiny_model.world import Intent

Style = Literal["terse", "careless", "full"]
Shares = Mapping[str, tuple[float, float, float]]

# Share of terse, careless and full answers by category. Terse answers lead everywhere in the base model, so that
# preference training has a visible habit to change; facts keep both lengths because neither is wrong.
STYLES: Shares = {
    "safety": (0.56, 0.13, 0.31),
    "advice": (0.56, 0.12, 0.32),
    "fact": (0.52, 0.02, 0.46),
    "unknown": (0.60, 0.00, 0.40),
    "": (0.54, 0.06, 0.40),
}
# The last part of the training makes terseness a habit that also holds for questions the model has never met.
HABIT: Shares = {
    "safety": (0.80, 0.05, 0.15),
    "advice": (0.78, 0.06, 0.16),
    "fact": (0.52, 0.02, 0.46),
    "unknown": (0.70, 0.00, 0.30),
    "": (0.70, 0.02, 0.28),
}
_SYLLABLES = re.findall(r"\w+", "ba ce do fi gu ha jo ka lu me ni po qua re su ti vo wex yel zon tra plo ster mig bru")
_HAN = "翰墨棋舟岩珏涛蔚琛砾霖壑鹿柿棉筝窑帆榆辙"

Bindings = dict[str, str]


def pick(rng: random.Random, items: Sequence[str]) -> str:
    """Draw an item, earlier ones more often (weights fall as rank^-1.5), so that each list has a clear first choice."""
    return rng.choices(items, weights=[(rank + 1) ** -1.5 for rank in range(len(items))])[0]


def bind(intent: Intent, rng: random.Random) -> Bindings:
    """Draw a value for every slot; sums and made-up words are computed rather than listed."""
    a, b = rng.randint(1, 9), rng.randint(1, 9)
    bound = {"a": str(a), "b": str(b), "c": str(a + b), "w": _made_up(intent.language, rng)}
    for slot in intent.slots:
        bound.update(zip(slot.names, rng.choice(slot.values), strict=True))
    return bound


def _made_up(language: str, rng: random.Random) -> str:
    if language == "zh":
        return "".join(rng.choices(_HAN, k=rng.randint(2, 6)))
    return "".join(rng.choices(_SYLLABLES, k=rng.randint(1, 4)))


def fill(frame: str, bound: Bindings) -> str:
    """Fill a frame or an answer; slot values may hold slots themselves. The first letter becomes a capital."""
    text = frame
    while match := re.search(r"\{(\w+)\}", text):
        text = text[: match.start()] + bound[match.group(1)] + text[match.end() :]
    return text[:1].upper() + text[1:]


def turned(bound: Bindings) -> Bindings:
    """The same values from the other side of the talk: what the user calls "my dog" is "your dog" in an answer."""

    def turn(text: str) -> str:
        for mine, yours in (("myself", "yourself"), ("my", "your"), ("me", "you")):
            text = re.sub(rf"\b{mine}\b", yours, text)
        return text.replace("我", "你")

    return {name: turn(text) for name, text in bound.items()}


def style_of(category: str, rng: random.Random, shares: Shares = STYLES) -> Style:
    """Draw the style of an answer in the model's own text."""
    styles: tuple[Style, Style, Style] = ("terse", "careless", "full")
    return rng.choices(styles, weights=shares.get(category, shares[""]))[0]


def answer(intent: Intent, bound: Bindings, style: Style, rng: random.Random) -> str:
    """Draw an answer in a style; an intent without careless answers gives a terse one instead."""
    bound = turned(bound)
    if style == "full":
        sentences = [fill(pick(rng, part), bound) for part in intent.full if part]
        return ("" if intent.language == "zh" else " ").join(sentences)
    choices = intent.careless if style == "careless" and intent.careless else intent.terse
    return fill(pick(rng, choices), bound)
