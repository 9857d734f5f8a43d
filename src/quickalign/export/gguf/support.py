"""Whether a model can become a GGUF file, known before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path

from transformers import AutoConfig, PreTrainedTokenizerBase

from quickalign.core import extras
from quickalign.core.errors import ModelError
from quickalign.export.gguf.vocabulary import WAY_OUT, pattern_of
from quickalign.export.gguf.writer import ARCHITECTURES, ROPE_TYPES
from quickalign.hub.shape import read_shape


def demand(weights: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse what no GGUF file can be made of here.

    Args:
        weights: the folder of the base or of wholly trained weights.

    Raises:
        OptionError: packages are not installed.
        ModelError: llama.cpp has no code for the model, or another than is known here.
    """
    extras.demand_gguf()
    config = AutoConfig.from_pretrained(weights, trust_remote_code=False)
    if config.model_type not in ARCHITECTURES:
        raise ModelError(f"GGUF is made of {', '.join(ARCHITECTURES)} models; this is {config.model_type}.", WAY_OUT)
    if set(read_shape(weights).attention) != {"full"}:
        raise ModelError("This model attends to a sliding window, which GGUF is not made of here.", WAY_OUT)
    kind = config.rope_parameters["rope_type"]
    if kind not in ROPE_TYPES:
        raise ModelError(f"This model scales its positions by {kind!r}, which GGUF is not made of here.", WAY_OUT)
    pattern_of(json.loads(tokenizer.backend_tokenizer.to_str()))
