"""Whether replicas of one base share its weights: where they do by themselves, and what is refused."""

from __future__ import annotations

import sys

from quickalign.core.errors import OptionError

_ALONE = "Leave share_base out, or set it to false"


def check_sharing(asked: bool | None, engine: str) -> None:
    """Refuse an engine that cannot share a base, where that was asked for.

    Raises:
        OptionError: with both options, and the way out.
    """
    if not asked or engine == "vllm":
        return
    raise OptionError(
        f"share_base=true is not possible with engine={engine}: only vllm computes many adapters on one base.",
        f"Set engine=vllm. {_ALONE}.",
    )


def is_shared(asked: bool | None, quantization: str, device: str) -> bool:
    """Whether vLLM on `device` (cpu or cuda) shares a base that was quantised in training as `quantization` says.

    Raises:
        OptionError: it was asked for and is not possible.
    """
    if asked and quantization != "none":
        raise OptionError(
            f"share_base=true is not possible: the base was quantised in training (load_in_{quantization}=true), "
            "so the adapter is merged into a base of its own.",
            f"{_ALONE}, or train with load_in_{quantization}=false.",
        )
    if asked and sys.platform != "linux":
        raise OptionError("share_base=true is possible on Linux alone.", f"{_ALONE}.")
    if asked is None:
        return device == "cuda" and quantization == "none" and sys.platform == "linux"
    return asked
