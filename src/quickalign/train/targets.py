"""Which layers get LoRA by `target_modules`, as far as names tell."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from quickalign.core.errors import OptionError
from quickalign.core.hyperparameters import Hyperparameters
from quickalign.hub.folder import read_headers
from quickalign.hub.shape import ModelShape

ALL = "all-linear"
_AS_STORED = tuple(f"{family}ForCausalLM" for family in ("Llama", "Mistral", "Qwen2", "Qwen3"))
"""Architectures whose layers are called in memory as their weights are in files."""


def names_of(parameters: Hyperparameters) -> list[str]:
    """The names in `target_modules`, sorted."""
    return sorted({name.strip() for name in parameters.target_modules.split(",")} - {""})


def called(name: str, layers: Iterable[str]) -> list[str]:
    """Those of the paths `layers` that PEFT takes `name` for."""
    return [layer for layer in layers if layer == name or layer.endswith(f".{name}")]


def check_names(parameters: Hyperparameters, shape: ModelShape, weights: Path) -> None:
    """Refuse a name that no layer of the model in folder `weights` has, where its files tell all layers' names.

    Raises:
        OptionError: it is named.
    """
    names = names_of(parameters)
    if parameters.lora_dim == 0 or names == [ALL] or shape.architecture not in _AS_STORED:
        return
    matrices = {name.removesuffix(".weight") for name, header in read_headers(weights).items() if len(header.shape) > 1}
    for name in names:
        if not called(name, matrices | {"lm_head"}):
            raise no_such_layer(parameters, name, matrices - {"model.embed_tokens", "lm_head"})


def no_such_layer(parameters: Hyperparameters, name: str, linear: Iterable[str]) -> OptionError:
    """The error for a name that no layer has; `linear` are those that could be meant."""
    asked = parameters.target_modules
    return no_layer(linear, f"target_modules={asked!r} names {name!r}, and no layer of this model is called so.")


def no_layer(linear: Iterable[str], message: str) -> OptionError:
    """The error for names that cannot be, with those that can."""
    last = sorted({layer.rsplit(".", 1)[-1] for layer in linear})
    return OptionError(message, f"Its linear layers are {', '.join(last)}; all-linear alone takes all but the head.")
