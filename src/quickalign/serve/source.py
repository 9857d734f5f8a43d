"""What is served: the folders of weights, tokenizer and adapter, and the training's manifest where there is one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from quickalign.core.errors import ModelError, OptionError
from quickalign.hub import source as hub
from quickalign.hub.folder import refuse_gguf
from quickalign.serve.spec import ServeSpec
from quickalign.train import manifest as manifests
from quickalign.train.manifest import Manifest

_RUN_FOLDERS = ("adapter", "model")


@dataclass(frozen=True, slots=True)
class Served:
    """What a spec names.

    Attributes:
        name: what the model is called where the spec gives no name.
        weights: folder of the (base) model.
        tokenizer: folder of the tokenizer and chat template.
        adapter: folder of the adapter on it, or None.
        base: name of the base an adapter is on, or None.
        manifest: what trained it; None for a model that was not trained here.
        fingerprint_checked: whether the base's weights were compared with those of the training.
    """

    name: str
    weights: Path
    tokenizer: Path
    adapter: Path | None
    base: str | None
    manifest: Manifest | None
    fingerprint_checked: bool = False

    @property
    def quantization(self) -> Literal["none", "4bit", "8bit"]:
        """How the base was quantised in training."""
        return self.manifest.quantization if self.manifest else "none"

    @property
    def saved_at(self) -> int:
        """When its weights were saved, as Unix time."""
        files = (self.adapter or self.weights).glob(f"*{manifests.WEIGHTS}")
        return int(max((file.stat().st_mtime for file in files), default=0))

    @property
    def trained_precision(self) -> str | None:
        """What training computed in."""
        return self.manifest.precision if self.manifest else None


def find(spec: ServeSpec) -> Served:
    """Find what `spec` names, and fetch it where it is not on this machine.

    Raises:
        ModelError: nothing that can be served is there, it was changed since its training, or an adapter was trained on
            another base.
        OptionError: an option that has no effect on this source.
    """
    folder = _trained_folder(Path(spec.model).expanduser())
    if spec.adapter is not None:
        return _given_pair(spec, spec.adapter.expanduser())
    if folder is None:
        found = hub.resolve(spec.model, revision=spec.revision)
        return Served(found.name, found.path, found.path, None, None, None)
    if spec.revision is not None:
        raise OptionError(f"revision={spec.revision!r} has no effect on the folder {spec.model}.", "Leave it out.")
    refuse_gguf(folder)
    name = Path(spec.model).expanduser().absolute().name
    if not manifests.is_adapter(folder):
        return Served(name, folder, folder, None, None, manifests.read_unchanged(folder))
    return _on_own_base(name, folder)


def _given_pair(spec: ServeSpec, adapter: Path) -> Served:
    """The adapter that the spec names, on the base that it names: they must belong together."""
    folder = _trained_folder(adapter)
    if folder is None or not manifests.is_adapter(folder):
        raise ModelError(f"{adapter} is no adapter's folder.", "Name a folder with an adapter_config.json.")
    manifest = manifests.read_unchanged(folder)
    base = hub.resolve(spec.model, revision=spec.revision)
    if manifest is not None and manifest.base.fingerprint != base.fingerprint:
        raise ModelError(
            f"The adapter {adapter} was trained on {manifest.base.name}, and {base.path} holds other weights.",
            f"Name the base it was trained on; {manifests.FILE} names it and its fingerprint.",
        )
    tokenizer = folder if (folder / "tokenizer_config.json").is_file() else base.path
    return Served(adapter.absolute().name, base.path, tokenizer, folder, base.name, manifest, manifest is not None)


def _on_own_base(name: str, folder: Path) -> Served:
    manifest = manifests.read_unchanged(folder)
    base = manifests.base_of(folder)
    # An adapter of another trainer may come without a tokenizer; then its base's is the one it was trained with.
    tokenizer = folder if (folder / "tokenizer_config.json").is_file() else base.path
    return Served(name, base.path, tokenizer, folder, base.name, manifest, manifest is not None)


def _trained_folder(path: Path) -> Path | None:
    """The folder of trained weights that `path` is or holds; None where `path` names a model.

    Raises:
        ModelError: `path` is the folder of a run that has not finished.
    """
    for folder in (path, *(path / name for name in _RUN_FOLDERS)):
        if manifests.is_adapter(folder) or (folder / manifests.FILE).is_file():
            return folder
    if (path / "checkpoints").is_dir():
        raise ModelError(
            f"The run in {path} has not finished, so there is no model of it yet.",
            "Run it again to go on, or name one of its checkpoints.",
        )
    return None
