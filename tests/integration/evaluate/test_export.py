"""What was trained is what is exported, and what is served from the export, for every kind within its stated limit."""

import errno
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from quickalign.core import paths
from quickalign.core.errors import ConflictError, ModelError, OptionError, QualityError, StorageError
from quickalign.export import run as module
from quickalign.export.run import export
from quickalign.export.spec import ExportSpec
from quickalign.train import manifest as manifests
from quickalign.train.observer import Observer

BASE = paths.assets() / "qwen2-tiny-instruct"


def spec_of(run: Path, output: Path, **values: object) -> ExportSpec:
    return ExportSpec.model_validate({"model": str(run), "output": output, "rows": 6, "prompts": 2, **values})


@pytest.fixture(scope="module")
def exported(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(spec_of(run_folder, tmp_path_factory.mktemp("exported") / "model"), Observer()).folder


def trained(run: Path) -> PeftModel:
    base = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    return PeftModel.from_pretrained(base, str(run / "adapter")).eval()


def questions(count: int) -> list[str]:
    kept = json.loads((paths.assets() / "sample" / "train.json").read_text(encoding="utf-8"))
    return list(dict.fromkeys(row["prompt"] for row in kept))[:count]


def prompt_of(tokenizer, question: str) -> list[int]:
    chat = [
        {"role": "system", "content": "You are a helpful assistant"},
        {"role": "user", "content": question},
    ]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


@torch.inference_mode()
def greedy(model, tokenizer, asked: list[str], tokens: int) -> list[list[int]]:
    """By transformers' own `generate`, in left-padded batches."""
    tokenizer.padding_side = "left"
    config = GenerationConfig(do_sample=False, max_new_tokens=tokens, eos_token_id=[5631, 5629], pad_token_id=5629)
    answers: list[list[int]] = []
    for start in range(0, len(asked), 50):
        batch = [{"input_ids": prompt_of(tokenizer, question)} for question in asked[start : start + 50]]
        inputs = tokenizer.pad(batch, return_tensors="pt")
        made = model.generate(**inputs, generation_config=config)
        answers += made[:, inputs["input_ids"].shape[1] :].tolist()
    return answers


def test_the_folder_carries_everything_and_its_hashes(exported: Path) -> None:
    names = {file.name for file in exported.iterdir()}
    needed = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert needed | {"chat_template.jinja", "README.md", "quickalign.json", "export.json"} <= names
    manifest = manifests.read(exported)
    assert manifest is not None
    assert set(manifest.files) == names - {"quickalign.json"}
    for name, digest in manifest.files.items():
        assert hashlib.sha256((exported / name).read_bytes()).hexdigest() == digest
    template = (BASE / "chat_template.jinja").read_text(encoding="utf-8")
    assert AutoTokenizer.from_pretrained(exported).chat_template == template
    assert json.loads((exported / "config.json").read_text())["use_cache"] is True


def test_the_card_says_what_the_run_recorded(run_folder: Path, exported: Path) -> None:
    card = (exported / "README.md").read_text(encoding="utf-8")
    report = json.loads((run_folder / "report.json").read_text(encoding="utf-8"))
    assert card.startswith("---\nlicense: apache-2.0\nbase_model: qwen2-tiny-instruct\n")
    for said in (
        report["data"]["sha256"],
        report["base"]["fingerprint"],
        "| learning_rate | 0.003 |",
        "nats per token",
    ):
        assert said in card


def test_the_cards_program_asks_as_in_training(
    exported: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = (exported / "README.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(exported)
    names: dict[str, Any] = {}
    exec(program, names)
    assert names["inputs"]["input_ids"][0].tolist() == prompt_of(names["tokenizer"], "Hello")
    assert capsys.readouterr().out.strip()


def test_a_second_call_finds_the_export(run_folder: Path, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "load_trained", None)
    found = export(spec_of(run_folder, exported), Observer())
    assert not found.made
    with pytest.raises(ConflictError, match="other settings"):
        export(spec_of(run_folder, exported, precision="bf16"), Observer())


def test_a_foreign_folder_is_not_touched(run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(ConflictError, match="is no export"):
        export(spec_of(run_folder, tmp_path / "mine"), Observer())
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"


def test_above_the_limit_nothing_is_left(run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(QualityError, match=r"limit is 1e-09"):
        export(spec_of(run_folder, tmp_path / "model", precision="bf16", parity_limit=1e-9), Observer())
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_a_sentence_and_leaves_nothing(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "save", full)
    with pytest.raises(StorageError, match="is full"):
        export(spec_of(run_folder, tmp_path / "model"), Observer())
    assert list(tmp_path.iterdir()) == []


def test_rows_are_needed_and_can_be_named(run_folder: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone" / "adapter"
    shutil.copytree(run_folder / "adapter", alone)
    with pytest.raises(OptionError, match="--data"):
        export(spec_of(alone, tmp_path / "model"), Observer())
    data = paths.assets() / "sample" / "heldout.json"
    found = export(spec_of(alone, tmp_path / "model", data=str(data), prompts=0), Observer())
    assert found.parity.rows == 6
    with pytest.raises(ModelError, match="export already"):
        export(spec_of(found.folder, tmp_path / "again"), Observer())
    with pytest.raises(ModelError, match="trained here"):
        export(spec_of(BASE, tmp_path / "again"), Observer())
