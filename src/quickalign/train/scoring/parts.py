"""The parts of a causal language model that scoring runs one by one: its decoder and its head."""

from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel

from quickalign.train.scoring.head import Head


def causal_model(model: nn.Module) -> PreTrainedModel:
    """The transformers model inside `model`, PEFT's layers in place."""
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    if not isinstance(base, PreTrainedModel):
        message = f"{type(base).__name__} is no transformers model."
        raise TypeError(message)
    return base


def decoder_of(model: PreTrainedModel) -> nn.Module:
    """What makes hidden states from token ids."""
    return model.get_decoder()  # type: ignore[no-any-return]


def head_of(model: PreTrainedModel) -> Head:
    """What makes logits from hidden states: the projection, and what the architecture does to its output.

    Cohere multiplies by `logit_scale`, Granite divides by `logits_scaling`, Gemma caps by `final_logit_softcapping`.
    """
    config = model.config.get_text_config()
    scale = float(getattr(config, "logit_scale", None) or 1.0) / float(getattr(config, "logits_scaling", None) or 1.0)
    softcap = getattr(config, "final_logit_softcapping", None)
    return Head(model.get_output_embeddings(), scale, None if softcap is None else float(softcap))
