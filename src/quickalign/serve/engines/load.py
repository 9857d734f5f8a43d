"""Loading a model of transformers to serve, with its adapter, as it was trained."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch
from peft import PeftModel
from torch import nn
from transformers import GenerationConfig
from transformers.utils.logging import set_verbosity_error

from quickalign.core.errors import ModelError, OptionError
from quickalign.core.hyperparameters import Precision
from quickalign.serve.engine import EngineInfo, Load, ReferenceAnswer
from quickalign.serve.engines.limits import SHARE_OF_MEMORY, bounded_context
from quickalign.serve.engines.transformers import TransformersCore
from quickalign.train.device import ComputePrecision, Device, find_device, resolve_precision
from quickalign.train.model import DTYPES, load_adapter, load_base, stored_bytes

_KINDS_OF_LAYER = {"full_attention", "sliding_attention", "chunked_attention"}
_UNKNOWN_CONTEXT = 8192


def load_transformers(load: Load) -> TransformersCore:
    """Load what `load` names on this process's device.

    In fp32 an adapter is merged into the weights. In other precisions, and on a quantised base, it stays beside them,
    because rounding the sum would serve other weights than those that were trained. The probes are answered before
    anything is merged, by transformers' own `generate`.

    Raises:
        ModelError: it cannot be loaded, or its layers keep more than keys and values.
        OptionError: the precision is not possible here.
    """
    if load.compression != "auto":
        raise OptionError(
            f"weights={load.compression!r} is not possible with engine=transformers.",
            "Serve it with engine=openvino, or leave weights out.",
        )
    set_verbosity_error()  # the library's advice is for those who call it
    device = find_device()
    precision = first_possible(load.precisions, device)
    base = load_base(
        Path(load.weights), dtype=DTYPES[precision], quantization=load.quantization, device=device.torch_device
    )
    text_config = base.config.get_text_config()
    check_layers(text_config, load.weights)
    ends = end_tokens(base.generation_config)
    base.generation_config = GenerationConfig()  # what the folder recommends, such as a penalty, is not greedy
    model: nn.Module = base
    applied: Literal["none", "merged", "beside"] = "none"
    if load.adapter is not None:
        model, applied = load_adapter(base, Path(load.adapter)), "beside"
    references = tuple(generate_greedily(model, probe, load.probe_tokens, ends) for probe in load.probes)
    if applied == "beside" and precision == "fp32" and load.quantization == "none":
        model, applied = cast("PeftModel", model).merge_and_unload(), "merged"
    weights = stored_bytes(model)
    cache_tokens = _cache_tokens(text_config, DTYPES[precision], find_device().available_bytes - weights)
    info = EngineInfo(
        engine="transformers",
        device=device.name,
        precision=precision if load.quantization == "none" else f"{precision}, base in {load.quantization}",
        context=min(bounded_context(own_context(text_config), load.context), cache_tokens),
        vocabulary=int(text_config.vocab_size),
        end_tokens=ends,
        slots=load.slots,
        adapter=applied,
        weights_bytes=weights,
        references=references,
    )
    return TransformersCore(model, info, layers=int(text_config.num_hidden_layers), cache_tokens=cache_tokens)


@torch.inference_mode()
def generate_greedily(model: nn.Module, prompt: tuple[int, ...], tokens: int, ends: tuple[int, ...]) -> ReferenceAnswer:
    """A greedy answer by transformers' own `generate`, without what the model's folder recommends for drawing."""
    device = next(model.parameters()).device
    ids = torch.tensor([prompt], device=device)
    config = GenerationConfig(
        do_sample=False,
        max_new_tokens=tokens,
        eos_token_id=list(ends) or None,
        pad_token_id=ends[0] if ends else 0,
        return_dict_in_generate=True,
        output_logits=True,
        use_cache=True,
    )
    generative: Any = model
    answer = generative.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=config)
    leads = []
    for logits in answer.logits:
        best = logits[0].float().topk(2).values
        leads.append(float(best[0] - best[1]))
    return ReferenceAnswer(prompt, tuple(answer.sequences[0, len(prompt) :].tolist()), tuple(leads))


def first_possible(precisions: tuple[str, ...], device: Device) -> ComputePrecision:
    """The first precision that the device has; the last one's refusal where it has none."""
    for name in precisions[:-1]:
        with suppress(OptionError):
            if name in get_args(Precision):
                return resolve_precision(cast("Precision", name), device)
    return resolve_precision(cast("Precision", precisions[-1]), device)


def check_layers(config: Any, name: str) -> None:
    """Refuse a model whose layers keep more than keys and values.

    Raises:
        ModelError: with the kinds of its layers.
    """
    other = sorted(set(getattr(config, "layer_types", None) or ()) - _KINDS_OF_LAYER)
    if other:
        raise ModelError(
            f"The model in {name} has layers of the kind {', '.join(other)}, whose state is no list of keys and "
            "values, so its answers cannot be computed side by side.",
            "Serve it with another engine.",
        )


def own_context(config: Any) -> int:
    """The most tokens that the model of this configuration was made for."""
    return int(getattr(config, "max_position_embeddings", None) or _UNKNOWN_CONTEXT)


def end_tokens(config: GenerationConfig | None) -> tuple[int, ...]:
    """The ids that end an answer by a model's own configuration."""
    configured = getattr(config, "eos_token_id", None)
    ids = configured if isinstance(configured, list) else [configured]
    return tuple(int(token) for token in ids if token is not None)


def _cache_tokens(config: Any, dtype: torch.dtype, free: int) -> int:
    """How many tokens' keys and values fit into half of `free` bytes."""
    heads = int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)
    size = int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
    a_token = 2 * int(config.num_hidden_layers) * heads * size * dtype.itemsize
    return max(int(free * SHARE_OF_MEMORY) // a_token, 1)
