import json

import pytest

from quickalign.core.errors import ModelError
from quickalign.hub.folder import check_folder, weight_files
from tests.doubles.models import CONFIG, write_model, write_sharded


@pytest.mark.parametrize("write", [write_model, write_sharded])
def test_a_whole_model_passes(tmp_path, write):
    check_folder(write(tmp_path / "m"))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("config.json", "config.json is missing"),
        ("tokenizer.json", "tokenizer.json is missing"),
        ("model.safetensors", "model.safetensors is missing"),
    ],
)
def test_a_missing_file_is_named(tmp_path, name, sentence):
    folder = write_model(tmp_path / "m")
    (folder / name).unlink()
    with pytest.raises(ModelError, match=sentence):
        check_folder(folder)


def test_a_missing_shard_is_named(tmp_path):
    folder = write_sharded(tmp_path / "m")
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model-00002-of-00002.safetensors is missing"):
        check_folder(folder)


def test_a_truncated_shard_is_named(tmp_path):
    folder = write_sharded(tmp_path / "m")
    shard = folder / "model-00001-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"model-00001-of-00002.safetensors is damaged"):
        check_folder(folder)


def test_a_tensor_that_no_shard_holds_is_named(tmp_path):
    folder = write_sharded(tmp_path / "m")
    index = folder / "model.safetensors.index.json"
    weight_map = json.loads(index.read_text())["weight_map"]
    index.write_text(json.dumps({"weight_map": weight_map | {"lost": "model-00001-of-00002.safetensors"}}))
    with pytest.raises(ModelError, match=r"'lost'"):
        check_folder(folder)


def test_an_index_cannot_point_outside(tmp_path):
    folder = write_sharded(tmp_path / "m")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../model.safetensors"}}))
    with pytest.raises(ModelError, match=r"outside the folder"):
        weight_files(folder)


def test_pickles_are_refused_with_a_remedy(tmp_path):
    folder = write_model(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"only in pytorch_model.bin.*save_pretrained"):
        check_folder(folder)


def test_an_adapter_names_its_base(tmp_path):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "maker/base"}))
    with pytest.raises(ModelError, match=r"is an adapter.*maker/base"):
        check_folder(tmp_path)


def test_auto_map_is_only_data_where_transformers_has_the_classes(tmp_path):
    folder = write_model(tmp_path / "m")
    (folder / "config.json").write_text(json.dumps(CONFIG | {"auto_map": {"AutoModel": "x.Y"}}))
    check_folder(folder)
    (folder / "config.json").write_text(json.dumps(CONFIG | {"auto_map": {"AutoModel": "x.Y"}, "model_type": "mine"}))
    with pytest.raises(ModelError, match=r"'mine'.*never run"):
        check_folder(folder)


def test_a_quantised_checkpoint_is_refused(tmp_path):
    folder = write_model(tmp_path / "m")
    (folder / "config.json").write_text(json.dumps(CONFIG | {"quantization_config": {"quant_method": "gptq"}}))
    with pytest.raises(ModelError, match=r"stored quantised \(gptq\).*load_in_4bit"):
        check_folder(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00"])
def test_a_broken_config_is_named(tmp_path, text):
    folder = write_model(tmp_path / "m")
    (folder / "config.json").write_text(text)
    with pytest.raises(ModelError, match=r"config.json cannot be read"):
        check_folder(folder)
