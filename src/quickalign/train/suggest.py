"""Settings that would fit where a run does not: tried one by one, then together, in a sensible order."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from quickalign.core.hyperparameters import Hyperparameters
from quickalign.hub.cards import card_or_none, cards
from quickalign.train.candidates import Situation
from quickalign.train.decision import Suggestion
from quickalign.train.settle import settle
from quickalign.train.work import clip_lengths, row_sizes

_KEPT_SHARE = 0.95


def suggest(model: str, parameters: Hyperparameters, situation: Situation) -> tuple[Suggestion, ...]:
    """Each single change that makes the run fit; where none does, the shortest row of changes that does together."""
    found = []
    together: dict[str, Any] = {}
    sentences: list[str] = []
    joint: Suggestion | None = None
    for settings, sentence in _changes(model, parameters, situation):
        if single := _if_it_fits(settings, sentence, parameters, situation):
            found.append(single)
        together |= settings
        sentences.append(sentence)
        if joint is None and len(sentences) > 1:
            joint = _if_it_fits(together, " ".join(sentences), parameters, situation)
    return tuple(found) if found else ((joint,) if joint else ())


def _changes(model: str, parameters: Hyperparameters, situation: Situation) -> Iterator[tuple[dict[str, Any], str]]:
    """Changes from the one that costs least to the one that costs most."""
    if parameters.gradient_checkpointing == "off":
        yield {"gradient_checkpointing": "on"}, "Recomputes activations; takes about a third more time."
    if (rows := parameters.per_device_train_batch_size) > 1:
        steps = parameters.gradient_accumulation_steps * rows
        settings = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": steps}
        yield settings, "The same optimiser batch in smaller pieces; the result stays the same."
    longest = int(row_sizes(situation.lengths).max())
    if parameters.token_budget > longest:
        yield {"token_budget": longest}, "Smaller packed micro-batches; the result stays the same."
    if parameters.lora_dim == 0 and situation.pieces == 1:
        yield {"lora_dim": 32, "load_in_4bit": True}, "Trains an adapter on a 4-bit base instead of all weights."
    elif parameters.quantization != "4bit" and situation.pieces == 1:
        yield {"load_in_4bit": True, "load_in_8bit": False}, "Keeps the base in 4 bits."
    widths = situation.lengths[:, 0] + situation.lengths[:, 1:].max(axis=1)
    shorter = max(int(np.quantile(widths, _KEPT_SHARE, method="higher")), 8)
    if shorter < int(widths.max()):
        yield {"seq_length": shorter}, f"Cuts fewer than {1 - _KEPT_SHARE:.0%} of the rows more than now."
    for name in _smaller_models(model, situation):
        yield {"model": name}, "A smaller model of the same family."


def _smaller_models(model: str, situation: Situation) -> list[str]:
    """Cards of the same family and kind with fewer parameters, largest first."""
    card = card_or_none(model)
    if card is None:
        return []
    alike = [c for c in cards() if c.family == card.family and c.instruct == card.instruct and not c.embedded]
    smaller = [c for c in alike if c.parameters < situation.shape.parameters]
    return [c.name for c in sorted(smaller, key=lambda c: -c.parameters) if c.name != card.name]


def _if_it_fits(
    settings: dict[str, Any], sentence: str, parameters: Hyperparameters, situation: Situation
) -> Suggestion | None:
    options = {name: value for name, value in settings.items() if name != "model"}
    if "model" in settings and (card := card_or_none(settings["model"])):
        situation = replace(situation, shape=card.shape)
    if "seq_length" in settings:
        situation = replace(situation, lengths=clip_lengths(situation.lengths, settings["seq_length"]))
    peak = settle(parameters.model_copy(update=options), situation).peak
    if peak > situation.device.available_bytes:
        return None
    return Suggestion(dict(settings), peak, sentence)
