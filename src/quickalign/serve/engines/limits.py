"""What bounds an engine: the context that was asked for, and the memory that keys and values may take."""

from __future__ import annotations

from quickalign.core.errors import OptionError

SHARE_OF_MEMORY = 0.5
"""How much of the memory that is free after loading keys and values may take."""


def bounded_context(own: int, asked: int | None) -> int:
    """The most tokens of prompt and answer together.

    Raises:
        OptionError: more than the model was made for.
    """
    if asked is not None and asked > own:
        raise OptionError(
            f"context={asked} is more than the {own} tokens that the model was made for.", f"Ask for {own} at most."
        )
    return asked or own
