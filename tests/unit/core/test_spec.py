"""A run's specification on disk: what is written is read back as the same run."""

from pathlib import Path

import pytest

from quickalign.core import options
from quickalign.core.errors import OptionError
from quickalign.core.spec import RunSpec, dump, load


@pytest.mark.parametrize(
    ("given", "method"),
    [
        ({}, "qlora-4bit"),
        ({"lora_dim": 0}, "full"),
        ({"load_in_8bit": True}, "qlora-8bit"),
        ({"load_in_4bit": False}, "lora"),
    ],
)
def test_what_is_written_is_read_back_as_the_same_run(given: dict[str, object], method: str, tmp_path: Path) -> None:
    spec = RunSpec(model="m", train="t", output=Path("o"), hyperparameters=options.parse(given))
    (tmp_path / "spec.json").write_text(dump(spec))
    again = load(tmp_path / "spec.json")
    assert again.hyperparameters.method == spec.hyperparameters.method == method
    assert dump(again) == dump(spec)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"model": "m"}'.encode("utf-16"), "not valid JSON"),
        (b'{"model": "m", "train": "t", "output": "o", "hyperparameters": 5}', "hyperparameters .5."),
        (b'{"model": "m", "train": "t", "output": "o", "hyperparameters": {"lr": 1}}', "learning_rate"),
    ],
)
def test_a_file_that_is_no_specification_is_one_sentence(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_bytes(content)
    with pytest.raises(OptionError, match=words):
        load(tmp_path / "spec.json")
