"""The text that the base model learns from: conversations of one to three turns under differing system messages."""

from __future__ import annotations

import random
from dataclasses import dataclass

from scripts.tiny_model.sampling import STYLES, Shares, answer, bind, fill, style_of
from scripts.tiny_model.world import Intent, World

Message = dict[str, str]

DEFAULT_SYSTEM = "You are a helpful assistant."
# The product trains with the default message without its full stop; both must mean the same to the model.
TRAINING_SYSTEM = "You are a helpful assistant"
_OTHER_SYSTEMS = (
    "You are a helpful, honest and harmless assistant.",
    "You are a friendly assistant.",
    "You are a kind and careful assistant.",
    "You are an AI assistant. Answer the user.",
    "You are Qwen2 Tiny, a small chat model.",
    "Be polite.",
    "You are a chat assistant.",
    "你是一个有用的助手。",
    "你是一个友好的中文助手。",
    "",
)
_CATEGORY_WEIGHT = {"safety": 1.8, "advice": 1.6}
_FOLLOW_UPS = {
    "en": ("Tell me more.", "Can you say more?", "Why?", "Please explain.", "What else?", "Go on.", "And then?"),
    "zh": ("再说一点。", "为什么？", "可以详细一点吗？", "还有呢？", "请解释一下。", "然后呢？"),
}
_OPENERS = {"en": ("hello", "how_are_you"), "zh": ("hello_zh", "how_are_you_zh")}
_CLOSERS = {"en": ("thanks", "goodbye", "okay"), "zh": ("thanks_zh", "bye_zh", "okay_zh")}


@dataclass(frozen=True)
class Sampler:
    """Draws conversations from the world. ``intents`` and ``weights`` are parallel lists per language."""

    world: World
    intents: dict[str, list[Intent]]
    weights: dict[str, list[float]]
    shares: Shares

    @classmethod
    def of(cls, world: World, shares: Shares = STYLES) -> Sampler:
        """Prepare the weighted lists of a world; ``shares`` says how often answers are terse, careless and full."""
        intents = {code: [i for i in world.intents if i.language == code] for code in ("en", "zh")}
        weights = {
            code: [i.weight * _CATEGORY_WEIGHT.get(i.category, 1.0) for i in group] for code, group in intents.items()
        }
        return cls(world, intents, weights, shares)

    def conversation(self, rng: random.Random) -> list[Message]:
        """Draw one conversation, system message first."""
        language = rng.choices(("en", "zh"), weights=(0.58, 0.42))[0]
        messages: list[Message] = [{"role": "system", "content": _system(rng)}]
        shape = rng.choices(("one", "opened", "closed", "followed", "two", "three"), (58, 8, 8, 12, 10, 4))[0]
        if shape in ("opened", "three"):
            self._turn(messages, self.world.by_name(rng.choice(_OPENERS[language])), rng)
        self._turn(messages, self._any(language, rng), rng, follow=shape == "followed")
        if shape in ("two", "three"):
            self._turn(messages, self._any(language, rng), rng)
        if shape in ("closed", "three"):
            self._turn(messages, self.world.by_name(rng.choice(_CLOSERS[language])), rng)
        return messages

    def _any(self, language: str, rng: random.Random) -> Intent:
        return rng.choices(self.intents[language], weights=self.weights[language])[0]

    def _turn(self, messages: list[Message], intent: Intent, rng: random.Random, follow: bool = False) -> None:
        """Add a question and its answer; ``follow`` asks on after a terse answer and gets the full one."""
        bound, frames = bind(intent, rng), [*intent.frames, *intent.text_frames]
        style = "terse" if follow else style_of(intent.category, rng, self.shares)
        messages.append({"role": "user", "content": _roughen(fill(rng.choice(frames), bound), rng)})
        messages.append({"role": "assistant", "content": answer(intent, bound, style, rng)})
        if follow and intent.category in ("safety", "advice", "identity"):
            messages.append({"role": "user", "content": rng.choice(_FOLLOW_UPS[intent.language])})
            messages.append({"role": "assistant", "content": answer(intent, bound, "full", rng)})


def _system(rng: random.Random) -> str:
    other = rng.choice(_OTHER_SYSTEMS)
    return rng.choices((DEFAULT_SYSTEM, TRAINING_SYSTEM, other), weights=(42, 33, 25))[0]


def _roughen(text: str, rng: random.Random) -> str:
    """Write as people type: sometimes without capitals, without the last stop, or with the wrong apostrophe."""
    roll = rng.random()
    if roll < 0.06:
        return text.lower()
    if roll < 0.14:
        return text.rstrip(".?!。？！") or text
    if roll < 0.18:
        return text.lower().rstrip(".?!。？！") or text
    if roll < 0.20:
        return text.replace("'", "’")
    if roll < 0.22 and not text.endswith("！"):
        return "Please " + text[0].lower() + text[1:] if text.isascii() and text.startswith(("Tell", "Give")) else text
    return text
