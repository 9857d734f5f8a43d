"""An adapter merged into its full-precision base, or a wholly trained model as it is."""

from __future__ import annotations

from pathlib import Path

import torch
from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel

from quickalign.core.errors import ModelError, first_line
from quickalign.train.device import find_device
from quickalign.train.model import load_adapter, load_base
from quickalign.train.trained import Found


def load_trained(found: Found) -> nn.Module:
    """The trained model in fp32, its adapter beside the weights. The base is never loaded in 4 or 8 bits here.

    Raises:
        ModelError: it cannot be loaded.
    """
    base = load_base(found.weights, dtype=torch.float32, device=find_device().torch_device)
    model: nn.Module = base if found.adapter is None else load_adapter(base, found.adapter)
    return model.eval()


def merged(model: nn.Module) -> PreTrainedModel:
    """The weights with the adapter added, in fp32; `model` is used up.

    Raises:
        ModelError: the sum is not finite.
    """
    if isinstance(model, PeftModel):
        try:
            whole: PreTrainedModel = model.merge_and_unload(safe_merge=True)
        except ValueError as error:
            raise ModelError(f"The adapter cannot be merged: {first_line(error)}") from None
        return whole
    assert isinstance(model, PreTrainedModel)
    return model


def save(model: PreTrainedModel, folder: Path, dtype: torch.dtype) -> None:
    """Write weights, configuration and generation configuration in Hugging Face layout."""
    nn.Module.to(model, dtype)
    model.config.dtype = dtype
    model.config.use_cache = True  # training switches it off; whoever serves the model wants it
    model.save_pretrained(folder)
