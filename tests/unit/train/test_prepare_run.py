"""What is refused before weights are loaded."""

import json
import shutil

import pytest

from quickalign.core import options, paths
from quickalign.core.errors import ModelError, OptionError
from quickalign.core.spec import RunSpec
from quickalign.train.run import plan

MODEL = "qwen2-tiny-instruct"


@pytest.mark.parametrize("where", ["train", "validation"])
def test_rows_beyond_the_models_positions_are_refused_with_the_length_it_allows(tmp_path, where):
    config = json.loads((paths.assets() / MODEL / "config.json").read_text())
    known = config["max_position_embeddings"]
    for name, words in (("short", 3), ("long", known)):
        row = {"prompt": "Hi", "chosen": "good " * words, "rejected": "bad"}
        (tmp_path / f"{name}.json").write_text(json.dumps([row]))
    files = {"train": str(tmp_path / "short.json"), where: str(tmp_path / "long.json")}

    def asked(length: int) -> RunSpec:
        parameters = options.parse({"training_strategy": "dpo", "load_in_4bit": False, "seq_length": length})
        return RunSpec(model=MODEL, output=tmp_path / "run", hyperparameters=parameters, **files)

    with pytest.raises(OptionError, match=f"seq_length={known + 1}, and {MODEL} was made for {known} at most"):
        plan(asked(known + 1))
    cut = plan(asked(known))[1].tokens
    assert cut is not None
    assert cut.truncation.rows_cut == (where == "train")


def test_a_damaged_tokenizer_is_a_sentence(tmp_path):
    shutil.copytree(paths.assets() / MODEL, tmp_path / "model")
    (tmp_path / "model" / "tokenizer.json").write_text("{")
    (tmp_path / "rows.json").write_text(json.dumps([{"prompt": "Hi", "chosen": "good", "rejected": "bad"}]))
    spec = RunSpec(model=str(tmp_path / "model"), train=str(tmp_path / "rows.json"), output=tmp_path / "run")
    with pytest.raises(ModelError, match=r"tokenizer in .* cannot be loaded"):
        plan(spec)
