"""The engines by name, and which one is taken where none is asked for."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.util import find_spec

from quickalign.core.errors import OptionError
from quickalign.serve.engine import Core, Load

ENGINES = ("transformers", "openvino")
FALLBACK = "transformers"
"""The engine that is always there, and that computes every model that can be served."""


def resolve_engine(name: str) -> str:
    """The engine that `name` stands for; auto takes OpenVINO where it is installed and there is no NVIDIA GPU.

    Raises:
        OptionError: there is none of that name, or it is not installed.
    """
    if name == "auto":
        return "openvino" if find_spec("openvino") and not shutil.which("nvidia-smi") else FALLBACK
    if name not in ENGINES:
        raise OptionError(f"There is no engine {name!r}.", f"Choose auto or one of {', '.join(ENGINES)}.")
    if name == "openvino" and not find_spec("openvino"):
        raise OptionError("engine='openvino' is not installed.", "Install it: pip install 'quickalign[openvino]'.")
    return name


def loader(engine: str) -> Callable[[Load], Core]:
    """What loads a model into `engine`; imports what that engine needs, which takes seconds.

    Raises:
        OptionError: there is no engine of that name.
    """
    if resolve_engine(engine) == "openvino":
        from quickalign.serve.engines.openvino.load import load_openvino  # noqa: PLC0415 - for the engine's own process

        return load_openvino
    from quickalign.serve.engines.load import load_transformers  # noqa: PLC0415 - for the engine's own process

    return load_transformers
