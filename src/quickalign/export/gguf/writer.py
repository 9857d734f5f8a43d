"""The file: an architecture's numbers, the vocabulary, and every tensor under llama.cpp's name for it.

The format and the names are the package `gguf`'s, which comes from llama.cpp's own repository. Weights are written one
by one, so that besides the model only one tensor is in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from quickalign.export.gguf.vocabulary import Vocabulary

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType, GGUFWriter

NAME = "model.gguf"
ARCHITECTURES = {"qwen2": "qwen2", "qwen3": "qwen3", "llama": "llama", "mistral": "llama"}
"""llama.cpp's name of the architecture of a configuration's `model_type`."""
ROPE_TYPES = ("default", "llama3")
_TURNED = {f"self_attn.{name}": heads for name, heads in (("q_proj", "heads"), ("k_proj", "key_heads"))}
"""What llama.cpp's `llama` wants with its dimensions in another order, because it rotates neighbouring ones."""
_SAMPLING = ("temperature", "top_p", "top_k")


def write(model: PreTrainedModel, vocabulary: Vocabulary, file: Path, kind: str, about: dict[str, str]) -> None:
    """Write `model`, in fp32 and with no adapter on it, to `file`.

    Args:
        kind: GGUF's name of what matrices are stored in, such as `F16` or `Q8_0`; vectors stay in fp32.
        about: `name` and `license`.
    """
    import gguf  # noqa: PLC0415 - an extra

    writer = gguf.GGUFWriter(file, ARCHITECTURES[model.config.model_type])
    _add_about(writer, model, kind, about)
    _add_shape(writer, model.config)
    vocabulary.add_to(writer)
    stored = gguf.GGMLQuantizationType[kind]
    tensors = [(name, tensor, _type_of(name, tensor, stored)) for name, tensor in _tensors(model)]
    for name, tensor, form in tensors:
        block, size = gguf.GGML_QUANT_SIZES[form]
        values = np.dtype(np.float32)  # any but bytes: the shape is that of the numbers, not of what is stored
        writer.add_tensor_info(name, tuple(tensor.shape), values, tensor.numel() // block * size, form)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for _, tensor, form in tensors:
        writer.write_tensor_data(gguf.quantize(_numbers(tensor), form))
    writer.close()


def _add_about(writer: GGUFWriter, model: PreTrainedModel, kind: str, about: dict[str, str]) -> None:
    import gguf  # noqa: PLC0415 - an extra

    writer.add_name(about["name"])
    writer.add_license(about["license"])
    writer.add_file_type(gguf.LlamaFileType["ALL_F32" if kind == "F32" else f"MOSTLY_{kind}"])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    sampling = model.generation_config
    if sampling is not None and sampling.do_sample:
        given = {name: getattr(sampling, name) for name in _SAMPLING}
        if given["temperature"] is not None:
            writer.add_sampling_temp(given["temperature"])
        if given["top_p"] is not None:
            writer.add_sampling_top_p(given["top_p"])
        if given["top_k"] is not None:
            writer.add_sampling_top_k(given["top_k"])


def _add_shape(writer: GGUFWriter, config: Any) -> None:
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(_head_size(config))
    writer.add_value_length(_head_size(config))
    writer.add_rope_dimension_count(_head_size(config))
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)


def _head_size(config: Any) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _tensors(model: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    """Every tensor under its name in GGUF, as llama.cpp wants it."""
    import gguf  # noqa: PLC0415 - an extra

    config = model.config
    architecture = next(one for one, name in gguf.MODEL_ARCH_NAMES.items() if name == ARCHITECTURES[config.model_type])
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    heads = {"heads": config.num_attention_heads, "key_heads": config.num_key_value_heads}
    if config.rope_parameters["rope_type"] == "llama3":
        yield f"{gguf.TENSOR_NAMES[gguf.MODEL_TENSOR.ROPE_FREQS]}.weight", _rope_factors(config)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue  # the embedding is both
        target = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert target is not None, f"{name} has no name in GGUF"
        turned = next((heads[many] for part, many in _TURNED.items() if part in name), None)
        if turned is not None and ARCHITECTURES[config.model_type] == "llama":
            yield target, turn(tensor, turned)
        else:
            yield target, tensor


def turn(tensor: Tensor, heads: int) -> Tensor:
    """Each head's two halves, which transformers rotates against each other, as neighbouring rows.

    Args:
        tensor: [heads * size, ...] of a query's or key's projection.
    """
    halves = tensor.unflatten(0, (heads, 2, -1))
    turned: Tensor = halves.transpose(1, 2).reshape(tensor.shape)
    return turned


def _rope_factors(config: Any) -> Tensor:
    """By what llama.cpp divides each frequency: Llama 3.1's scaling, [head size / 2]."""
    base, size = config.rope_parameters["rope_theta"], _head_size(config)
    plain = 1.0 / base ** (torch.arange(0, size, 2, dtype=torch.float32) / size)
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    factors: Tensor = plain / scaled
    return factors


def _type_of(name: str, tensor: Tensor, kind: GGMLQuantizationType) -> GGMLQuantizationType:
    """What a tensor is stored in: vectors in fp32, matrices in `kind`, where their rows are whole blocks of it.

    Of four bits, the embedding and the head have eight, as they carry most of the error.
    """
    import gguf  # noqa: PLC0415 - an extra

    types = gguf.GGMLQuantizationType
    if tensor.ndim < 2:
        return types.F32
    if kind is types.Q4_0 and name.startswith(("token_embd", "output")):
        kind = types.Q8_0
    return types.F16 if tensor.shape[-1] % gguf.GGML_QUANT_SIZES[kind][0] else kind


def _numbers(tensor: Tensor) -> NDArray[np.float32]:
    found: NDArray[np.float32] = tensor.detach().float().cpu().contiguous().numpy()
    return found
