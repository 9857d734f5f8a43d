"""`quickalign.json`: what trained weights are of, and how prompts must be rendered for them.

It lies in every checkpoint's and every finished run's `adapter/` or `model/` folder, and is what lets later steps serve
exactly what was trained.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from quickalign.core.checksums import sha256_of
from quickalign.core.errors import ModelError, first_line
from quickalign.core.hyperparameters import Hyperparameters, Quantization
from quickalign.hub import source as hub
from quickalign.hub.fingerprint import file_sha256
from quickalign.hub.loading import files_read

FILE = "quickalign.json"
WEIGHTS = ".safetensors"
_NOT_USED = ".md"
"""Of an exported folder's files, those that say nothing to who loads it."""


class BaseReference(BaseModel):
    """Which base weights. `source` and `revision` find them again; `fingerprint` proves that they are the same."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    source: str
    revision: str | None
    fingerprint: str


class Manifest(BaseModel):
    """The content of `quickalign.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: str
    kind: str
    base: BaseReference
    method: str
    training_strategy: str
    precision: str
    system_prompt: str
    apply_chat_template: bool
    seq_length: int
    data_fingerprint: str
    hyperparameters: dict[str, Any]
    step: int
    weights_sha256: str = ""
    files: dict[str, str] = {}
    """SHA-256 of every other file of an exported folder by name; empty for a run's own folder."""
    beside: dict[str, str] = {}
    """SHA-256 of the files beside the weights in a run's own folder by name: configuration, tokenizer, template; and of
    the weights' files where these are several, which can be remembered one by one."""

    @property
    def quantization(self) -> Quantization:
        """How the weights must be loaded: as the base was in training for an adapter, as they are for a whole model."""
        return "none" if self.kind == "model" else Hyperparameters.model_validate(self.hyperparameters).quantization


_AS_UNKNOWN = f"or take {FILE} out of the folder, to use what is there as a model of unknown training."


def read(folder: Path) -> Manifest | None:
    """The manifest in `folder`, or None where quickalign did not make the folder.

    Raises:
        ModelError: the manifest is damaged.
    """
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        return Manifest.model_validate_json(file.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise ModelError(f"{file} is damaged: {first_line(error)}.", "Export the run again.") from None


def read_unchanged(folder: Path) -> Manifest | None:
    """The manifest of a folder that still holds what was saved with it; None where quickalign did not make the folder.

    Raises:
        ModelError: the manifest is damaged, or the folder was changed.
    """
    manifest = read(folder)
    if manifest is not None:
        check_unchanged(folder, manifest)
    return manifest


def check_unchanged(folder: Path, manifest: Manifest) -> None:
    """Refuse a folder whose weights, configuration, tokenizer or template were changed since `manifest` was written.

    A file that came since, and that loading reads, changes them too; others say nothing.

    Raises:
        ModelError: it names the file.
    """
    told = {**manifest.files, **manifest.beside}
    used = {name: sha256 for name, sha256 in told.items() if not name.endswith(_NOT_USED)}
    changed = [name for name, sha256 in used.items() if hash_of(folder / name) != sha256]
    told_weights = any(name.endswith(WEIGHTS) for name in told)
    if not told_weights and manifest.weights_sha256 not in ("", _remembered(folder)):
        changed.insert(0, f"*{WEIGHTS}")
    if changed:
        raise ModelError(
            f"{folder / changed[0]} is not what was trained: its SHA-256 is not the one in {FILE}.",
            f"Bring it back; {_AS_UNKNOWN}",
        )
    if added := added_files(folder, manifest):
        raise ModelError(
            f"{folder / added[0]} was not there when this was trained, and loading it would read that file.",
            f"Take it out of the folder; {_AS_UNKNOWN}",
        )


def added_files(folder: Path, manifest: Manifest) -> list[str]:
    """The files of `folder` that loading reads and that `manifest` does not tell of.

    One file of weights is not told of by its name: a second one shows in the hash of both.
    """
    told = {**manifest.files, **manifest.beside}
    names = files_read(folder) - told.keys()
    several = any(name.endswith(WEIGHTS) for name in told)
    return sorted(name for name in names if several or not name.endswith(WEIGHTS)) if told else []


def weights_sha256(folder: Path) -> str:
    """SHA-256 over a folder's safetensors files, in the order of their names."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob(f"*{WEIGHTS}")):
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def hash_of(file: Path) -> str:
    """SHA-256 (hex) of a file, which of weights is remembered; empty where there is none."""
    if not file.is_file():
        return ""
    return file_sha256(file) if file.suffix == WEIGHTS else sha256_of(file)


def _remembered(folder: Path) -> str:
    """`weights_sha256`, read again only where it is of several files."""
    files = list(folder.glob(f"*{WEIGHTS}"))
    return file_sha256(files[0]) if len(files) == 1 else weights_sha256(folder)


def write(folder: Path, manifest: Manifest) -> None:
    """Put `manifest` into `folder`."""
    text = json.dumps(manifest.model_dump(), indent=1, sort_keys=True, ensure_ascii=False)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


def is_adapter(folder: Path) -> bool:
    """Whether `folder` holds an adapter in PEFT's layout."""
    return (folder / "adapter_config.json").is_file()


def base_of(adapter: Path) -> hub.ModelSource:
    """The base that the adapter in folder `adapter` was trained on.

    Raises:
        ModelError: it is not to be had, or its weights have changed since.
    """
    manifest = read(adapter)
    if manifest is None:
        config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
        return hub.resolve(str(config["base_model_name_or_path"]))
    found = hub.resolve(manifest.base.source, revision=manifest.base.revision)
    if found.fingerprint != manifest.base.fingerprint:
        raise ModelError(
            f"The adapter {adapter} was trained on other weights than {found.path} holds now.",
            f"Bring back the base it was trained on; {FILE} names it and its fingerprint.",
        )
    return found
