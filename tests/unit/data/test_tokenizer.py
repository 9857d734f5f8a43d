"""Tokenizers that cannot be loaded are told in a sentence."""

import shutil

import pytest

from quickalign.core import paths
from quickalign.core.errors import ModelError
from quickalign.data.tokenizer import load_tokenizer

FOLDER = paths.assets() / "qwen2-tiny-instruct"


@pytest.mark.parametrize("content", ["{", "[]", '{"version": "1.0", "model": {"type": "nosuch"}}', ""])
def test_a_damaged_tokenizer(tmp_path, content):
    folder = shutil.copytree(FOLDER, tmp_path / "model")
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(ModelError, match=r"The tokenizer in .*model cannot be loaded: "):
        load_tokenizer(folder)


def test_a_whole_one():
    assert load_tokenizer(FOLDER).decode([0]) is not None
