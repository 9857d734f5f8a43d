"""What is served is what was trained: a folder that was changed since is refused before anything is loaded."""

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from quickalign.core.errors import ModelError
from quickalign.export.spec import ExportSpec
from quickalign.export.task import prepare
from quickalign.hub.source import resolve
from quickalign.serve.chat import make_prompts
from quickalign.serve.proof import check_base, check_prompts
from quickalign.serve.source import find
from quickalign.serve.spec import ServeSpec
from quickalign.train import checkpoint, trained
from quickalign.train import manifest as manifests
from quickalign.train.manifest import BaseReference
from quickalign.train.model import Policy
from tests.support.chat import byte_tokenizer, chat_model, save_chat_model
from tests.support.reports import make_manifest


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return save_chat_model(tmp_path / "base", chat_model())


def save(folder: Path, base: Path, kind: str, *, chat: bool = True) -> Path:
    """What a run leaves: an adapter, or a whole model."""
    torch.manual_seed(1)
    model: Any = chat_model()
    if kind == "adapter":
        model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    reference = BaseReference(name="b", source=str(base), revision=None, fingerprint=resolve(str(base)).fingerprint)
    manifest = make_manifest(kind=kind, base=reference, system_prompt="Be kind", apply_chat_template=chat)
    trainable = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    policy = Policy(model=model, trainable=trainable, base_bytes=0, adapter=kind == "adapter", autocast=None)
    checkpoint.export(policy, byte_tokenizer(), folder, manifest)
    return folder


def other_weights(folder: Path) -> str:
    [file] = folder.glob("*.safetensors")
    save_file({name: weight * 0 for name, weight in load_file(file).items()}, file, metadata={"format": "pt"})
    return "*.safetensors"


def other_text(name: str) -> Callable[[Path], str]:
    def change(folder: Path) -> str:
        (folder / name).write_text((folder / name).read_text() + "\n")
        return name

    return change


CHANGES = [other_weights, *map(other_text, ("chat_template.jinja", "tokenizer.json", "tokenizer_config.json"))]
ADDED = ["added_tokens.json", "special_tokens_map.json", "additional_chat_templates/default.jinja", "vocab.json"]
HARMLESS = ["notes.txt", "README.md", "report.html", "additional_chat_templates/rag.jinja", "checkpoints/config.json"]


@pytest.mark.parametrize("kind", ["adapter", "model"])
def test_what_training_left_is_served_and_said_to_be_as_it_was_saved(tmp_path: Path, base: Path, kind: str) -> None:
    folder = save(tmp_path / kind, base, kind)
    manifest = manifests.read(folder)
    assert manifest is not None
    files = [file for file in folder.iterdir() if file.name != manifests.FILE]
    told = {**manifest.beside, **{file.name: manifest.weights_sha256 for file in folder.glob("*.safetensors")}}
    assert told == {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    for name in HARMLESS:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("another file says nothing")
    served = find(ServeSpec(model=str(folder)))
    assert "Trained weights, tokenizer and template are as they were saved." in check_base(served).seen


def uses(folder: Path, base: Path, kind: str) -> list[Callable[[], object]]:
    """Everything that loads what was trained: serving, exporting, and what `generate`, `eval` and `compare` find it by."""
    ways: list[Callable[[], object]] = [
        lambda: find(ServeSpec(model=str(folder))),
        lambda: prepare(ExportSpec(model=str(folder), output=folder.parent / "exported")),
        lambda: trained.find(str(folder)),
    ]
    return ways + ([lambda: find(ServeSpec(model=str(base), adapter=folder))] if kind == "adapter" else [])


@pytest.mark.parametrize("kind", ["adapter", "model"])
def test_a_model_was_made_when_its_weights_were_saved(tmp_path: Path, base: Path, kind: str) -> None:
    folder = save(tmp_path / kind, base, kind)
    for file in folder.iterdir():
        os.utime(file, (5, 1_700_000_000.5 if file.suffix == ".safetensors" else 1_800_000_000))
    assert find(ServeSpec(model=str(folder))).saved_at == 1_700_000_000


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", ["adapter", "model"])
def test_what_was_changed_since_is_refused(
    tmp_path: Path, base: Path, kind: str, change: Callable[[Path], str]
) -> None:
    folder = save(tmp_path / kind, base, kind)
    changed = re.escape(str(folder / change(folder)))
    for use in uses(folder, base, kind):
        with pytest.raises(ModelError, match=f"{changed} is not what was trained"):
            use()
    (folder / manifests.FILE).unlink()
    if kind == "model":  # the way out that the error names
        assert find(ServeSpec(model=str(folder))).manifest is None


@pytest.mark.parametrize(
    ("kind", "name"),
    [*((kind, name) for kind in ("adapter", "model") for name in ADDED), ("model", "adapter_config.json")],
)
def test_what_was_added_since_and_would_be_read_is_refused(tmp_path: Path, base: Path, kind: str, name: str) -> None:
    folder = save(tmp_path / kind, base, kind)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("{}")
    for use in uses(folder, base, "adapter" if name == "adapter_config.json" else kind):
        with pytest.raises(ModelError, match=re.escape(f"{folder / name} was not there when this was trained")):
            use()


def test_a_second_file_of_weights_is_refused(tmp_path: Path, base: Path) -> None:
    folder = save(tmp_path / "model", base, "model")
    save_file({"more": torch.zeros(1)}, folder / "more.safetensors")
    with pytest.raises(ModelError, match="is not what was trained"):
        trained.find(str(folder))


def test_a_run_of_before_is_held_to_what_it_wrote_down(tmp_path: Path, base: Path) -> None:
    folder = save(tmp_path / "adapter", base, "adapter")
    manifest = manifests.read(folder)
    assert manifest is not None
    manifests.write(folder, manifest.model_copy(update={"beside": {}}))
    assert "The trained weights are as they were saved." in check_base(find(ServeSpec(model=str(folder)))).seen
    other_weights(folder)
    with pytest.raises(ModelError, match="is not what was trained"):
        find(ServeSpec(model=str(folder)))


@pytest.mark.parametrize(
    ("chat", "given", "told"), [(True, None, False), (True, "Be brief", True), (False, None, False)]
)
def test_another_system_prompt_is_told_where_there_is_one(
    tmp_path: Path, base: Path, chat: bool, given: str | None, told: bool
) -> None:
    served = find(ServeSpec(model=str(save(tmp_path / "adapter", base, "adapter", chat=chat))))
    engine: Any = SimpleNamespace(info=SimpleNamespace(end_tokens=()))
    check = check_prompts(served, make_prompts(served, given), engine)
    assert check.passed
    assert ("The system prompt is another one." in check.seen) is told
