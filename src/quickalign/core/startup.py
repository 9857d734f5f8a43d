"""Programs that start sooner: imports without the garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Import or load in this block without looking for garbage.

    PyTorch and transformers make some hundred thousand objects that stay for good; the collector goes through them
    again and again meanwhile, for about a seventh of the time. Afterwards it leaves them alone.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
