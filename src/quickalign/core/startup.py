"""Programs that start sooner: without the garbage collector, and without packages they have no use for.

transformers and PEFT import whatever they find installed: PyTorch for a process that only has a tokenizer, bitsandbytes
(and with it PyTorch's compiler) for a model that is not quantised. Each costs seconds before the first answer or step,
and memory for as long as the process lives.
"""

from __future__ import annotations

import gc
import sys
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


def leave_out(*packages: str) -> None:
    """Let these packages be absent in this process, unless they are imported already.

    For programs alone: what is left out stays out for everybody in the process. `None` in `sys.modules` is Python's own
    way to say that a package is absent.
    """
    for package in packages:
        sys.modules.setdefault(package, None)  # type: ignore[arg-type]  # typeshed knows modules alone
