"""The engines by name, and which one is taken where none is asked for."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.util import find_spec

from quickalign.core import extras
from quickalign.core.errors import OptionError
from quickalign.serve.engine import Core, Load
from quickalign.serve.engines.vllm import environment

ENGINES = ("transformers", "openvino", "vllm")
FALLBACK = "transformers"
"""The engine that is always there, and that computes every model that can be served."""
_INSTALL = {"openvino": extras.command("openvino"), "vllm": "quickalign engines install vllm"}


def is_installed(engine: str) -> bool:
    """Whether an engine can be used here."""
    if engine == "vllm":
        return environment.python() is not None
    return engine == FALLBACK or find_spec(engine) is not None


def resolve_engine(name: str) -> str:
    """The engine that `name` stands for; auto takes vLLM beside an NVIDIA GPU and OpenVINO elsewhere, where installed.

    Raises:
        OptionError: there is none of that name, or it is not installed.
    """
    if name == "auto":
        best = "vllm" if shutil.which("nvidia-smi") else "openvino"
        return best if is_installed(best) else FALLBACK
    if name not in ENGINES:
        raise OptionError(f"There is no engine {name!r}.", f"Choose auto or one of {', '.join(ENGINES)}.")
    if not is_installed(name):
        raise OptionError(f"engine={name!r} is not installed.", f"Install it: {_INSTALL[name]}.")
    return name


def loader(engine: str) -> Callable[[Load], Core]:
    """What loads a model into `engine`; imports what that engine needs, which takes seconds.

    Raises:
        OptionError: there is no engine of that name.
    """
    match resolve_engine(engine):
        case "openvino":
            from quickalign.serve.engines.openvino.load import load_openvino, prepare  # noqa: PLC0415 - for its process

            prepare()
            return load_openvino
        case "vllm":
            from quickalign.serve.engines.vllm.load import load_vllm  # noqa: PLC0415 - for its own process

            return load_vllm
    from quickalign.serve.engines.load import load_transformers  # noqa: PLC0415 - for the engine's own process

    return load_transformers
