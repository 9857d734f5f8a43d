"""The model as transformers has it: the oracle of the proof, and what the graph is made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel
from torch import nn
from transformers import GenerationConfig, PreTrainedModel
from transformers.utils.logging import set_verbosity_error

from quickalign.core.errors import ModelError
from quickalign.serve.engine import EngineCannotError, Load, ReferenceAnswer
from quickalign.serve.engines.load import check_layers, end_tokens, generate_greedily, own_context
from quickalign.train.model import load_adapter, load_base


@dataclass(frozen=True, slots=True)
class Facts:
    """What the engine must know of a model besides its graph."""

    context: int
    vocabulary: int
    end_tokens: tuple[int, ...]


class Trained:
    """What `load` names, in fp32, with its adapter beside the weights until `merged` is called.

    Raises:
        ModelError: it cannot be loaded.
    """

    def __init__(self, load: Load) -> None:
        set_verbosity_error()  # the library's advice is for those who call it
        self._load = load
        self._base = load_base(Path(load.weights), dtype=torch.float32, quantization=load.quantization)
        config = self._base.config.get_text_config()
        check_layers(config, load.weights)
        self.facts = Facts(own_context(config), int(config.vocab_size), end_tokens(self._base.generation_config))
        self._base.generation_config = (
            GenerationConfig()
        )  # what the folder recommends, such as a penalty, is not greedy
        self._model: nn.Module = self._base
        if load.adapter is not None:
            self._model = load_adapter(self._base, Path(load.adapter))

    def references(self) -> list[ReferenceAnswer]:
        """Greedy answers to the probes, by transformers' own `generate`."""
        return [
            generate_greedily(self._model, probe, self._load.probe_tokens, self.facts.end_tokens)
            for probe in self._load.probes
        ]

    def merged(self) -> PreTrainedModel:
        """The model with the adapter in its weights. A quantised base is what it stands for, in fp32.

        Raises:
            EngineCannotError: the base's quantisation cannot be undone.
        """
        if self._load.quantization != "none":
            self._undo_quantization()
        if isinstance(self._model, PeftModel):
            merged: Any = self._model.merge_and_unload()
            return cast("PreTrainedModel", merged)
        return self._base

    def _undo_quantization(self) -> None:
        base: Any = self._base
        if isinstance(self._model, PeftModel):
            base = self._model.unload()
        try:
            self._base = base.dequantize().to(torch.float32).eval()
        except Exception as error:  # each way of quantising raises its own kinds
            raise EngineCannotError(f"The base in {self._load.quantization} cannot be read back: {error}") from error
        self._model = self._base
        if self._load.adapter is not None:
            self._model = load_adapter(self._base, Path(self._load.adapter))


def load_trained(load: Load) -> Trained:
    """What `load` names, for conversion.

    Raises:
        EngineCannotError: it cannot be loaded in this way.
    """
    try:
        return Trained(load)
    except ModelError as error:
        raise EngineCannotError(error.message, error.remedy) from error
