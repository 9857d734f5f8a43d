import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quickalign.core.errors import ModelError
from quickalign.hub.shape import read_shape, shape_of
from tests.doubles.models import CONFIG, write_model


@settings(max_examples=12, deadline=None)
@given(
    kind=st.sampled_from(["qwen2", "qwen3", "llama", "mistral"]),
    layers=st.integers(1, 3),
    kv_heads=st.sampled_from([1, 2]),
    groups=st.sampled_from([1, 2]),
    head_dim=st.sampled_from([4, 8]),
    hidden=st.sampled_from([16, 24]),
    tied=st.booleans(),
    biased=st.booleans(),
)
def test_parameters_are_those_of_the_built_model(kind, layers, kv_heads, groups, head_dim, hidden, tied, biased):
    """transformers builds the model on the meta device and counts."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        kind,
        num_hidden_layers=layers,
        hidden_size=hidden,
        intermediate_size=40,
        num_attention_heads=kv_heads * groups,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        vocab_size=50,
        tie_word_embeddings=tied,
        **({"attention_bias": biased} if kind in ("llama", "qwen3") else {}),
        **({"mlp_bias": biased} if kind == "llama" else {}),
    )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    built = sum(parameter.numel() for parameter in model.parameters())
    written = json.loads(config.to_json_string())
    assert shape_of(written, kind).parameters == built


def test_weights_make_the_count_exact(tmp_path):
    folder = write_model(tmp_path / "m", rows=32)
    shape = read_shape(folder)
    assert shape.parameters == 32 * 8
    assert (shape.dtype, shape.stored_bytes) == ("bfloat16", 32 * 8 * 2)


def test_without_weights_the_config_is_enough(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | {"dtype": "float16"}))
    shape = read_shape(tmp_path)
    # embedding + 2 layers of (q, k, v with biases, o, gate, up, down, two norms) + last norm
    layer = 8 * 8 + 8 + 2 * (8 * 4 + 4) + 8 * 8 + 3 * 8 * 16 + 2 * 8
    assert shape.parameters == 32 * 8 + 2 * layer + 8
    assert shape.stored_bytes == 2 * shape.parameters
    assert (shape.head_dim, shape.kv_heads, shape.architecture) == (4, 1, "Qwen2ForCausalLM")


@pytest.mark.parametrize(
    ("extra", "kinds"),
    [
        ({}, ("full", "full")),
        ({"sliding_window": 4096, "use_sliding_window": False}, ("full", "full")),
        ({"sliding_window": 4096, "use_sliding_window": True, "max_window_layers": 1}, ("full", "sliding")),
        ({"sliding_window": 4096}, ("sliding", "sliding")),
        ({"sliding_window": None}, ("full", "full")),
        ({"layer_types": ["linear_attention", "full_attention"]}, ("linear", "full")),
        ({"layer_types": ["sliding_attention", "full_attention"]}, ("sliding", "full")),
    ],
)
def test_attention_kinds(extra, kinds):
    shape = shape_of(CONFIG | extra, "m")
    assert shape.attention == kinds
    assert shape.full_attention == (kinds == ("full", "full"))


@pytest.mark.parametrize(
    ("scaling", "context"),
    [
        (None, 64),
        ({"rope_type": "default"}, 64),
        ({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}, 256),  # as Qwen documents it
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}, 64),  # written in already
        ({"rope_type": "linear", "factor": 2}, 128),
        ({"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 64}, 64),
    ],
)
@pytest.mark.parametrize("field", ["rope_scaling", "rope_parameters"])
def test_the_context_counts_scaled_rotary_embeddings(field, scaling, context):
    assert shape_of(CONFIG | {"max_position_embeddings": 64, field: scaling}, "m").context_length == context


def test_nested_text_config():
    nested = {"architectures": ["Wrapper"], "model_type": "wrapper", "text_config": CONFIG}
    shape = shape_of(nested, "m")
    assert (shape.layers, shape.architecture) == (2, "Wrapper")
    assert shape.parameters == shape_of(CONFIG, "m").parameters


@pytest.mark.parametrize("field", ["num_hidden_layers", "hidden_size", "vocab_size", "max_position_embeddings"])
@pytest.mark.parametrize("value", [None, 0, "many", True])
def test_what_cannot_be_understood_is_named(field, value):
    with pytest.raises(ModelError, match=f"config.json of mine .* {field} is"):
        shape_of(CONFIG | {field: value}, "mine")


@pytest.mark.parametrize("field", ["num_key_value_heads", "head_dim"])
def test_what_may_be_left_out_must_still_be_a_size(field):
    assert shape_of(CONFIG | {"num_key_value_heads": None, "head_dim": None}, "m").kv_heads == 2
    with pytest.raises(ModelError, match=f"{field} is 'x'"):
        shape_of(CONFIG | {field: "x"}, "m")


def test_experts_cannot_be_counted_without_weights():
    with pytest.raises(ModelError, match=r"mixture of experts"):
        shape_of(CONFIG | {"num_experts": 8}, "moe")
