"""What a loaded base becomes before it is trained."""

from pathlib import Path

import pytest
import torch

from quickalign.core.errors import OptionError
from quickalign.train.model import add_adapter, load_base, make_policy
from quickalign.train.scoring.choose import packing_obstacle
from tests.support.runs import dpo, save_model, small_model

IDS = torch.arange(2, 26)[None]


@pytest.mark.parametrize("bits", ["none", "4bit"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_dora_in_bf16_begins_as_its_base(tmp_path: Path, bits: str, dropout: float) -> None:
    folder = save_model(small_model(dtype=torch.bfloat16, initializer_range=0.2), tmp_path)
    parameters = dpo(use_dora=True, lora_dropout=dropout, load_in_4bit=bits == "4bit")
    base = load_base(folder, dtype=torch.bfloat16, quantization=parameters.quantization)
    with torch.no_grad():
        expected = base.eval()(input_ids=IDS).logits
        found = make_policy(base, parameters, precision="bf16").model(input_ids=IDS).logits
    assert torch.equal(found, expected)


@pytest.mark.parametrize("changes", [{}, {"lora_dim": 0, "lora_alpha": 32}])
def test_a_base_whose_config_drops_attention_weights_is_trained_without(changes: dict[str, int]) -> None:
    base = small_model(attention_dropout=0.5, initializer_range=0.2)
    with torch.no_grad():
        expected = base.eval()(input_ids=IDS).logits
    model = make_policy(base, dpo(**changes), precision="fp32").model
    assert model.training
    assert torch.equal(model(input_ids=IDS).logits, expected)
    assert packing_obstacle(base, longest_row=64) is None


def test_dropout_that_was_asked_for_stays() -> None:
    model = make_policy(small_model(), dpo(lora_dropout=0.5), precision="fp32").model
    dropped = {part.p for part in model.modules() if isinstance(part, torch.nn.Dropout)}
    assert dropped == {0.5}


@pytest.mark.parametrize(
    ("names", "wrong"), [("q_proj,q_porj", "q_porj"), ("all-linear,q_proj", "all-linear"), ("roj", "roj")]
)
def test_every_name_of_target_modules_must_be_a_layers(names: str, wrong: str) -> None:
    with pytest.raises(OptionError, match=f"'{wrong}', and no layer") as refused:
        add_adapter(small_model(), dpo(target_modules=names))
    assert "q_proj" in str(refused.value.remedy)


@pytest.mark.parametrize("name", ["embed_tokens", "lm_head", "model.embed_tokens"])
def test_weights_that_a_model_uses_twice_take_no_adapter(name: str) -> None:
    with pytest.raises(OptionError, match=f"names '{name}', whose weights"):
        add_adapter(small_model(), dpo(target_modules=f"q_proj,{name}"))
    model = add_adapter(small_model(tie_word_embeddings=False), dpo(target_modules=f"q_proj,{name}"))
    # an adapter on the embedding alone, or on the head alone, is merged to the same model
    for weight in model.parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.1)
    with torch.no_grad():
        expected = model.eval()(input_ids=IDS).logits
        assert torch.allclose(model.merge_and_unload()(input_ids=IDS).logits, expected, atol=1e-5)


def test_what_takes_no_lora_is_refused() -> None:
    with pytest.raises(OptionError, match="takes no LoRA"):
        add_adapter(small_model(), dpo(target_modules="input_layernorm"))


@pytest.mark.parametrize("names", ["q_proj, v_proj", "self_attn.q_proj", "model.layers.0.mlp.up_proj"])
def test_names_may_be_whole_or_the_end_of_one(names: str) -> None:
    model = add_adapter(small_model(), dpo(target_modules=names))
    found = {name for name, weight in model.named_parameters() if weight.requires_grad}
    for name in names.split(","):
        assert any(f"{name.strip()}.lora_A" in weight for weight in found), name
