from importlib import resources

import pytest

from quickalign.core.errors import ModelError
from quickalign.hub.cards import cards, find_card
from quickalign.hub.needs import METHODS, adapter_parameters, gpu_memory

REMOTE = [card for card in cards() if not card.embedded]
MISSION_16 = [f"qwen2-{size}{kind}" for size in ("0.5b", "1.5b", "7b") for kind in ("", "-instruct")]
MISSION_80 = ["qwen1.5-72b-chat", "qwen2-72b", "qwen2-72b-instruct"]


@pytest.mark.parametrize("card", REMOTE, ids=lambda card: card.name)
def test_the_figure_on_the_card_is_that_of_its_shape(card):
    assert card.shape.parameters == pytest.approx(card.parameters, rel=0.01)
    assert card.shape.context_length == card.context_length
    assert card.shape.full_attention


@pytest.mark.parametrize("card", REMOTE, ids=lambda card: card.name)
def test_needs_grow_with_the_bits_of_the_base(card):
    needs = card.needs
    assert set(needs) == set(METHODS) == set(card.methods)
    assert needs["full"] > needs["lora"] > needs["qlora-8bit"] > needs["qlora-4bit"] > 1.5


@pytest.mark.parametrize(("names", "gigabytes"), [(MISSION_16, 16), (MISSION_80, 80)])
def test_the_missions_requirement_is_on_the_card_and_holds(names, gigabytes):
    for name in names:
        card = find_card(name)
        assert card.mission_gpu is not None
        assert card.mission_gpu.startswith(f"{gigabytes} GB")
        assert card.needs["qlora-4bit"] <= gigabytes


def test_needs_of_a_known_shape():
    """Qwen2-7B by hand: 3584 wide, 28 layers, 18944 between, 28 heads and 4 key-value heads of 128, 152064 tokens."""
    shape = find_card("qwen2-7b").shape
    linear = 28 * (2 * 3584 * 3584 + 2 * 3584 * 512 + 3 * 3584 * 18944)
    adapter = 28 * 32 * (2 * (3584 + 3584) + 2 * (3584 + 512) + 3 * (3584 + 18944))
    assert shape.linear_parameters == linear
    assert adapter_parameters(shape, 32) == adapter
    activations = 2 * 256 * 3584 * 28 + 2 * 256 * (8 * 3584 + 4 * 18944) + 8 * 256 * 152064
    expected = 2 * 7_615_616_512 + 16 * adapter + activations + 1.5e9
    assert gpu_memory(shape)["lora"] == pytest.approx(expected / 1e9, abs=0.1)


def test_adapter_parameters_are_two_factors_for_every_linear_layer():
    """The linear layers that transformers builds are the oracle."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from quickalign.hub.shape import shape_of

    config = AutoConfig.for_model(
        "qwen2", num_hidden_layers=2, hidden_size=32, intermediate_size=48, num_attention_heads=4,
        num_key_value_heads=2, vocab_size=40,
    )  # fmt: skip
    with torch.device("meta"):
        layers = AutoModelForCausalLM.from_config(config).model.layers
    added = sum(
        4 * (module.in_features + module.out_features)
        for module in layers.modules()
        if isinstance(module, torch.nn.Linear)
    )
    assert adapter_parameters(shape_of(config.to_dict(), "m"), 4) == added


@pytest.mark.parametrize(
    "name", ["qwen2-7b-instruct", "Qwen2-7B-Instruct", "Qwen/Qwen2-7B-Instruct", "qwen/qwen2-7b-instruct"]
)
def test_a_card_is_found_by_all_its_names(name):
    assert find_card(name).name == "qwen2-7b-instruct"


def test_a_card_is_found_by_its_modelscope_id():
    assert find_card("LLM-Research/Meta-Llama-3.1-8B-Instruct").huggingface == "meta-llama/Llama-3.1-8B-Instruct"


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(ModelError, match=r"Did you mean qwen2-7b-instruct"):
        find_card("qwen2-7b-instrukt")
    with pytest.raises(ModelError, match=r"models list"):
        find_card("zzz")


def test_names_are_unique():
    names = [name.lower() for card in cards() for name in set(map(str.lower, card.names))]
    assert len(names) == len(set(names))


def test_base_models_have_no_template_and_chat_models_have_one():
    assert all((card.chat_template is not None) == card.instruct for card in cards())


def test_the_embedded_card_tells_the_truth():
    card = cards()[0]
    assert (card.name, card.embedded) == ("qwen2-tiny-instruct", True)
    if not (resources.files("quickalign") / "assets" / card.name / "config.json").is_file():
        pytest.skip("the embedded model is not built in this checkout; scripts/tiny_model builds it")
    assert card.shape.parameters == card.parameters
    assert card.shape.context_length == card.context_length
