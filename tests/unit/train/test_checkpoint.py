import json
from functools import partial
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import PreTrainedModel

from quickalign.core.errors import ModelError
from quickalign.train import manifest as manifests
from quickalign.train.checkpoint import export, load_weights
from quickalign.train.model import make_policy
from quickalign.train.saved import STATE_FILE, Checkpoint, list_checkpoints, step_folder
from tests.support.loops import NoTokenizer, make_setup
from tests.support.runs import dpo, random_pairs, small_model


def test_a_checkpoint_without_its_state_is_none(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        folder = step_folder(tmp_path, step)
        folder.mkdir(parents=True)
        (folder / "optimizer.safetensors").write_bytes(b"")
        if step != 1:  # a process was killed while it deleted this one
            (folder / STATE_FILE).write_text(json.dumps({"step": step}))
    assert [found.step for found in list_checkpoints(tmp_path)] == [2, 3]


def untied() -> PreTrainedModel:
    return small_model(tie_word_embeddings=False)


@pytest.mark.parametrize("names", ["embed_tokens,q_proj", "lm_head,q_proj"])
def test_an_adapter_on_the_embedding_or_the_head_is_read_back(tmp_path: Path, names: str) -> None:
    setup = make_setup(untied(), random_pairs(1), dpo(target_modules=names), tmp_path)
    for weight in setup.policy.trainable.values():
        torch.nn.init.normal_(weight)
    export(setup.policy, NoTokenizer(), tmp_path / "adapter", setup.manifest)  # type: ignore[arg-type]
    again = make_policy(untied(), dpo(target_modules=names), precision="fp32")
    load_weights(again, Checkpoint(tmp_path, 1, {}))
    for name, weight in setup.policy.trainable.items():
        assert torch.equal(again.trainable[name], weight), name
    ids = torch.arange(2, 26)[None]
    with torch.no_grad():
        expected = setup.policy.model.eval()(input_ids=ids).logits
        found = PeftModel.from_pretrained(untied(), tmp_path / "adapter").eval()(input_ids=ids).logits
    assert torch.allclose(found, expected, atol=1e-6)


def test_each_of_several_weight_files_is_held_to_its_own_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setup = make_setup(small_model(), random_pairs(1), dpo(lora_dim=0, lora_alpha=32), tmp_path)
    model = setup.policy.model
    monkeypatch.setattr(model, "save_pretrained", partial(model.save_pretrained, max_shard_size="50KB"))
    folder = tmp_path / "model"
    export(setup.policy, NoTokenizer(), folder, setup.manifest)  # type: ignore[arg-type]
    manifest = manifests.read(folder)
    assert manifest is not None
    shards = sorted(file.name for file in folder.glob("*.safetensors"))
    assert len(shards) > 1
    assert set(shards) <= set(manifest.beside)
    monkeypatch.setattr(manifests, "weights_sha256", None)  # reads all of them, whenever it is asked
    manifests.check_unchanged(folder, manifest)
    changed = (folder / shards[1]).read_bytes()
    (folder / shards[1]).write_bytes(changed[:-1] + bytes([changed[-1] ^ 1]))
    with pytest.raises(ModelError, match=f"{shards[1]} is not what was trained"):
        manifests.check_unchanged(folder, manifest)
