"""The shape of a decoder: what memory and time depend on, read without torch and without loading weights."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from quickalign.core.errors import ModelError
from quickalign.hub.folder import CONFIG, read_headers, read_json
from quickalign.hub.safetensors_header import TensorHeader

AttentionKind = Literal["full", "sliding", "linear"]
StoredDtype = Literal["float32", "bfloat16", "float16"]

DTYPE_BYTES: Mapping[StoredDtype, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
_HEADER_DTYPES: Mapping[str, StoredDtype] = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}

_SCALED = ("linear", "dynamic", "yarn")
"""Kinds of rotary embeddings whose factor widens the context; others write the wide one into their config."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A decoder's dimensions.

    `attention` has one kind a layer. `attention_bias` is whether the query, key and value projections have one,
    `output_bias` the attention's output projection, `mlp_bias` the feed-forward layers, and `query_key_norm` whether
    queries and keys are normalised per head, as in Qwen3. `parameters` is exact where the weights were read, else
    that of a dense decoder of these dimensions. `stored_bytes` is the size of the weights as stored in `dtype`.
    """

    architecture: str
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    tied_embeddings: bool
    context_length: int
    attention: tuple[AttentionKind, ...]
    attention_bias: bool
    output_bias: bool
    mlp_bias: bool
    query_key_norm: bool
    parameters: int
    dtype: StoredDtype
    stored_bytes: int

    @property
    def full_attention(self) -> bool:
        """Whether every layer sees all earlier tokens."""
        return all(kind == "full" for kind in self.attention)

    @property
    def projections(self) -> dict[str, tuple[int, int]]:
        """(inputs, outputs) of each linear layer of one decoder layer, by the usual names."""
        query, key_value = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return {
            "q_proj": (self.hidden, query),
            "k_proj": (self.hidden, key_value),
            "v_proj": (self.hidden, key_value),
            "o_proj": (query, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }

    @property
    def linear_parameters(self) -> int:
        """Weights of the layers' linear projections: what LoRA adapts and quantisation shrinks."""
        return self.layers * sum(inputs * outputs for inputs, outputs in self.projections.values())

    @property
    def embedding_parameters(self) -> int:
        """Weights of the embedding and, where it is not tied, the head."""
        return self.vocab * self.hidden * (1 if self.tied_embeddings else 2)


def read_shape(path: Path) -> ModelShape:
    """The shape of the model in folder `path`, from config.json and, where weights are there, their headers.

    Raises:
        ModelError: config.json is missing or lacks a needed field, or a weights file is damaged.
    """
    config = read_json(path / CONFIG)
    has_weights = any(path.glob("*.safetensors"))
    return shape_of(config, str(path), read_headers(path) if has_weights else None)


def shape_of(config: Mapping[str, Any], name: str, tensors: Mapping[str, TensorHeader] | None = None) -> ModelShape:
    """The shape a configuration describes; `tensors`, where given, make the parameter count exact.

    Raises:
        ModelError: a needed field cannot be found; `name` says in which model.
    """
    text = {**config, **_text_part(config)}
    dense = _dense_shape(text, _architecture(config), name)
    if tensors is not None:
        return _with_weights(dense, tensors)
    if experts := [field for field in ("num_experts", "num_local_experts") if text.get(field) not in (None, 0, 1)]:
        raise ModelError(
            f"The size of {name} cannot be told from its config.json, because it is a mixture of experts "
            f"({experts[0]}={text[experts[0]]}).",
            "Fetch its weights first.",
        )
    return dense


def _dense_parameters(shape: ModelShape) -> int:
    """The number of weights of a dense decoder with RMS norms and a gated feed-forward layer.

    A layer has the projections, their biases, two norms of the hidden size and, with `query_key_norm`, two of the head
    size; around the layers are the embedding, a final norm and an untied head.
    """
    query, key_value = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    layer = (query + 2 * key_value) * shape.attention_bias + shape.hidden * shape.output_bias
    layer += (2 * shape.intermediate + shape.hidden) * shape.mlp_bias
    layer += 2 * shape.hidden + 2 * shape.head_dim * shape.query_key_norm
    return shape.linear_parameters + shape.layers * layer + shape.hidden + shape.embedding_parameters


def _text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    part = config.get("text_config")
    return part if isinstance(part, Mapping) else {}


def _architecture(config: Mapping[str, Any]) -> str:
    names = config.get("architectures") or _text_part(config).get("architectures")
    return str(names[0]) if names else str(config.get("model_type", "unknown"))


def _dense_shape(config: Mapping[str, Any], architecture: str, name: str) -> ModelShape:
    layers = _size(config, "num_hidden_layers", name)
    heads = _size(config, "num_attention_heads", name)
    hidden = _size(config, "hidden_size", name)
    kind = str(config.get("model_type", ""))
    # Qwen2 always has biases on q, k and v and says so nowhere; for Llama `attention_bias` also covers the output.
    always_biased = kind == "qwen2"
    shape = ModelShape(
        architecture=architecture,
        layers=layers,
        hidden=hidden,
        intermediate=_size(config, "intermediate_size", name),
        heads=heads,
        kv_heads=_size(config, "num_key_value_heads", name, default=heads),
        head_dim=_size(config, "head_dim", name, default=hidden // heads),
        vocab=_size(config, "vocab_size", name),
        tied_embeddings=bool(config.get("tie_word_embeddings", False)),
        context_length=_context(config, name),
        attention=_attention_kinds(config, layers, name),
        attention_bias=always_biased or bool(config.get("attention_bias")),
        output_bias=not always_biased and bool(config.get("attention_bias")),
        mlp_bias=bool(config.get("mlp_bias")),
        query_key_norm=kind.startswith("qwen3"),
        parameters=0,
        dtype=_stored_dtype(config),
        stored_bytes=0,
    )
    return _counted(shape, _dense_parameters(shape))


def _counted(shape: ModelShape, parameters: int) -> ModelShape:
    return replace(shape, parameters=parameters, stored_bytes=parameters * DTYPE_BYTES[shape.dtype])


def _context(config: Mapping[str, Any], name: str) -> int:
    """Positions that the model knows, with those that the scaling of rotary embeddings in its config adds.

    Where a config names the original number, it may or may not have written the scaled one beside it (YaRN, Peng et al.
    2023, as Qwen documents it, leaves it).
    """
    known = _size(config, "max_position_embeddings", name)
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    factor = scaling.get("factor")
    if scaling.get("rope_type", scaling.get("type")) not in _SCALED or not isinstance(factor, int | float):
        return known
    return max(known, int(factor * scaling.get("original_max_position_embeddings", known)))


def _size(config: Mapping[str, Any], field: str, name: str, default: int | None = None) -> int:
    value = config.get(field)
    if value is None and default is not None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        found = f"is {value!r}" if field in config else "is missing"
        raise ModelError(
            f"The config.json of {name} cannot be understood: {field} {found}.",
            "Only decoder language models in Hugging Face layout are supported.",
        )
    return value


def _attention_kinds(config: Mapping[str, Any], layers: int, name: str) -> tuple[AttentionKind, ...]:
    """The kind of each layer: listed by name, or all sliding where a window is set and not switched off."""
    listed = config.get("layer_types")
    if isinstance(listed, list) and len(listed) == layers:
        return tuple(_attention_kind(str(kind)) for kind in listed)
    first_sliding = 0
    if config.get("sliding_window") is None or not config.get("use_sliding_window", True):
        first_sliding = layers
    elif "use_sliding_window" in config:
        # Qwen2 and Qwen3 keep full attention in the first `max_window_layers` layers.
        first_sliding = _size(config, "max_window_layers", name, default=0)
    return tuple("full" if layer < first_sliding else "sliding" for layer in range(layers))


def _attention_kind(kind: str) -> AttentionKind:
    if "full" in kind:
        return "full"
    return "sliding" if "sliding" in kind or "chunked" in kind else "linear"


def _stored_dtype(config: Mapping[str, Any]) -> StoredDtype:
    named = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    for dtype in DTYPE_BYTES:
        if named == dtype:
            return dtype
    return "float32"


def _with_weights(dense: ModelShape, tensors: Mapping[str, TensorHeader]) -> ModelShape:
    """`dense` with what the weights say: exact count, type, and whether there is a head of its own."""
    tied = dense.tied_embeddings or not any(name.endswith("lm_head.weight") for name in tensors)
    counted = {name: tensor for name, tensor in tensors.items() if not (tied and name.endswith("lm_head.weight"))}
    elements: Counter[str] = Counter()
    for tensor in counted.values():
        elements[tensor.dtype] += tensor.elements
    most = elements.most_common(1)[0][0] if elements else ""
    stored = replace(dense, tied_embeddings=tied, dtype=_HEADER_DTYPES.get(most, dense.dtype))
    return _counted(stored, sum(elements.values()))
