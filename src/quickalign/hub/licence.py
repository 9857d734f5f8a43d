"""Under which licence a model is that was made of a base."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from quickalign.hub.cards import card_or_none

_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
_CARD = "README.md"


def license_of(name: str, weights: Path) -> str:
    """The licence of a base: what its own card says in its folder, else the model card of its name, else `other`."""
    readme = weights / _CARD
    if readme.is_file() and (found := _FRONT_MATTER.match(readme.read_text(encoding="utf-8", errors="replace"))):
        try:
            values = yaml.safe_load(found[1])
        except yaml.YAMLError:
            values = None
        if isinstance(values, dict) and isinstance(values.get("license"), str):
            return str(values["license"])
    card = card_or_none(name)
    return card.license.name.lower() if card else "other"
