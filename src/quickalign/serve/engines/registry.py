"""The engines by name, and which one is taken where none is asked for."""

from __future__ import annotations

from collections.abc import Callable

from quickalign.core.errors import OptionError
from quickalign.serve.engine import Core, Load

ENGINES = ("transformers",)


def resolve_engine(name: str) -> str:
    """The engine that `name` stands for; auto takes the fastest that is installed.

    Raises:
        OptionError: there is none of that name.
    """
    if name == "auto":
        return ENGINES[0]
    if name not in ENGINES:
        raise OptionError(f"There is no engine {name!r}.", f"Choose auto or one of {', '.join(ENGINES)}.")
    return name


def loader(engine: str) -> Callable[[Load], Core]:
    """What loads a model into `engine`; imports what that engine needs, which takes seconds.

    Raises:
        OptionError: there is no engine of that name.
    """
    resolve_engine(engine)
    from quickalign.serve.engines.load import load_transformers  # noqa: PLC0415 - for the engine's own process

    return load_transformers
