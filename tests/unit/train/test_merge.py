"""An adapter as the base of a run: merged by hand in fp32, or refused with a sentence."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from quickalign.core import paths
from quickalign.core.errors import ModelError
from quickalign.hub.licence import license_of
from quickalign.train.manifest import weights_sha256
from quickalign.train.merge import merged_base

BASE = paths.assets() / "qwen2-tiny-instruct"
LAYER = "model.layers.0.self_attn.q_proj"


@pytest.fixture
def adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What another trainer leaves: weights and configuration, no tokenizer and no manifest."""
    monkeypatch.setenv("QUICKALIGN_HOME", str(tmp_path / "home"))
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    config = LoraConfig(r=2, lora_alpha=6, target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(model, config).save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def test_an_adapter_without_a_tokenizer_is_merged_with_that_of_its_base(adapter: Path) -> None:
    folder = merged_base(adapter)
    low_rank = load_file(adapter / "adapter_model.safetensors")
    a, b = (low_rank[f"base_model.model.{LAYER}.lora_{name}.weight"] for name in "AB")
    before, after = (load_file(where / "model.safetensors")[f"{LAYER}.weight"] for where in (BASE, folder))
    torch.testing.assert_close(after, before.float() + 3.0 * b @ a)
    ids, expected = (
        AutoTokenizer.from_pretrained(where)("What is a fair price?").input_ids for where in (folder, BASE)
    )
    assert ids == expected
    assert merged_base(adapter) == folder


def test_a_merged_base_says_what_it_was_made_of_and_under_which_licence(adapter: Path) -> None:
    folder = merged_base(adapter)
    assert folder.name.startswith(f"{BASE.name}-merged-")
    assert license_of(folder.name, folder) == license_of(BASE.name, BASE) == "apache-2.0"
    assert weights_sha256(adapter) in (folder / "README.md").read_text()
    again = adapter.parent / "again"
    shutil.copytree(adapter, again)
    file = again / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"base_model_name_or_path": str(folder)}))
    further = merged_base(again)
    assert further != folder
    assert further.name.count("-merged-") == 1, "a name does not grow with every turn"
    assert license_of(further.name, further) == "apache-2.0"


def test_the_same_weights_with_another_scale_are_merged_anew(adapter: Path) -> None:
    merged = {}
    for alpha in (6, 12):
        file = adapter / "adapter_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"lora_alpha": alpha}))
        merged[alpha] = load_file(merged_base(adapter) / "model.safetensors")[f"{LAYER}.weight"]
    before = load_file(BASE / "model.safetensors")[f"{LAYER}.weight"].float()
    torch.testing.assert_close(merged[12] - before, 2 * (merged[6] - before), rtol=1e-3, atol=1e-6)


def test_a_damaged_adapter_or_tokenizer_is_a_sentence(adapter: Path) -> None:
    (adapter / "tokenizer_config.json").write_text("[]")
    with pytest.raises(ModelError, match=r"tokenizer in .* cannot be loaded"):
        merged_base(adapter)
    (adapter / "tokenizer_config.json").unlink()
    (adapter / "adapter_model.safetensors").write_bytes(b"{}")
    with pytest.raises(ModelError, match=r"adapter in .* cannot be loaded"):
        merged_base(adapter)
    assert not list((adapter.parent / "home" / "merged").glob("*"))
