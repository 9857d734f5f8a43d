"""What becomes a GGUF file, and what is refused before anything is loaded."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.modeling_gguf_pytorch_utils import LlamaTensorProcessor

from quickalign.core import paths
from quickalign.core.errors import ModelError, OptionError
from quickalign.data.tokenizer import load_tokenizer
from quickalign.export.gguf import support
from quickalign.export.gguf.vocabulary import SENTENCEPIECE, pattern_of, vocabulary_of
from quickalign.export.gguf.writer import turn
from tests.support.absent import take_away
from tests.support.gguf_models import llama3_like, small_model
from tests.support.tokenizers import llama_like, qwen2_like

TINY = paths.assets() / "qwen2-tiny-instruct"


def told(tokenizer: Any) -> dict[str, Any]:
    return json.loads(tokenizer.backend_tokenizer.to_str())


@pytest.mark.parametrize("heads", [1, 2, 6])
@pytest.mark.parametrize("shape", [(48, 5), (48,)])
def test_turned_rows_are_those_that_transformers_turns_back(heads: int, shape: tuple[int, ...]) -> None:
    plain = torch.randn(shape)
    back = LlamaTensorProcessor()._reverse_permute_weights(turn(plain, heads).numpy(), heads)
    assert torch.equal(torch.from_numpy(back), plain)


@pytest.mark.parametrize(
    ("tokenizer", "pattern"),
    [
        (qwen2_like(), "qwen2"),
        (llama3_like(), "llama-bpe"),
        (llama_like(), SENTENCEPIECE),
        (load_tokenizer(TINY), "qwen2"),
    ],
)
def test_families_are_recognised(tokenizer: Any, pattern: str) -> None:
    assert pattern_of(told(tokenizer)) == pattern


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda file: file["model"].update(type="Unigram"), "is of another kind"),
        (lambda file: file.update(pre_tokenizer={"type": "ByteLevel"}), "is of another kind"),
        (lambda file: file.update(pre_tokenizer=None), "is of another kind"),
        (lambda file: file["pre_tokenizer"]["pretokenizers"][0].update(pattern={"Regex": r"\w+"}), "not known to have"),
        (lambda file: file["pre_tokenizer"]["pretokenizers"][0].update(pattern={"String": "a"}), "not known to have"),
        (lambda file: file["model"].update(ignore_merges=True), "not known to have"),
    ],
)
def test_other_tokenizers_are_refused(change: Any, words: str) -> None:
    file = told(qwen2_like())
    change(file)
    with pytest.raises(ModelError, match=words):
        pattern_of(file)


def test_ids_without_a_token_get_one_of_their_own() -> None:
    tokenizer = qwen2_like()
    found = vocabulary_of(tokenizer, 500, [2])
    assert len(found.tokens) == len(set(found.tokens)) == len(found.types) == 500
    assert found.tokens[499] == "[unused499]"
    assert (found.types[0], found.types[50], found.types[499]) == (3, 1, 5)  # control, normal, unused
    assert found.ids == {"eos": 2, "pad": 0}
    assert found.adds == {"bos_token": False}
    assert vocabulary_of(llama3_like(), 600, [4]).adds == {"bos_token": True}


def test_ends_have_three_words() -> None:
    assert vocabulary_of(qwen2_like(), 500, [0, 1, 2]).ids == {"eos": 2, "eot": 0, "eom": 1, "pad": 0}
    with pytest.raises(ModelError, match="4 tokens end this model's answers"):
        vocabulary_of(qwen2_like(), 500, [0, 1, 2, 3])


def save(folder: Path, **changes: Any) -> Path:
    small_model("qwen2", 512).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    return folder


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "phi3"}, "GGUF is made of qwen2, qwen3, llama, mistral models; this is phi3"),
        (
            {"use_sliding_window": True, "sliding_window": 32, "layer_types": ["sliding_attention"] * 2},
            "attends to a sliding window",
        ),
        (
            {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4}},
            "scales its positions by 'yarn'",
        ),
    ],
)
def test_other_models_are_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        support.demand(save(tmp_path, **changes), qwen2_like())
    support.demand(save(tmp_path / "as it was"), qwen2_like())


def test_a_package_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take_away(monkeypatch, "xllamacpp")
    with pytest.raises(OptionError, match=re.escape("GGUF files need xllamacpp.")):
        support.demand(tmp_path, qwen2_like())
