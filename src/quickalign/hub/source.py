"""Where a model's weights come from: a folder, the embedded model, a mirror, a cache, Hugging Face or ModelScope."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from quickalign.core import paths
from quickalign.core.errors import ModelError
from quickalign.hub.cards import ModelCard, card_or_none
from quickalign.hub.download import Progress
from quickalign.hub.fingerprint import model_fingerprint
from quickalign.hub.folder import CONFIG, check_folder
from quickalign.hub.places import search, wanted
from quickalign.hub.repository import Origin

__all__ = ["ModelSource", "Origin", "Progress", "resolve"]


@dataclass(frozen=True)
class ModelSource:
    """A whole model on this machine. `card` is None where the model has none."""

    name: str
    path: Path
    card: ModelCard | None
    origin: Origin

    @cached_property
    def fingerprint(self) -> str:
        """The content hash of weights and configuration; read on first use, which takes seconds for large models."""
        return model_fingerprint(self.path)


def resolve(model: str, revision: str | None = None, progress: Progress | None = None) -> ModelSource:
    """Find `model` (a folder, a card's name or a repository id), and fetch it where it is not on this machine.

    Raises:
        ModelError: it cannot be found, fetched, or trusted; the sentence names the places that were tried.
    """
    if folder := _local_folder(model):
        _refuse_revision(revision, model, "a local folder")
        return ModelSource(folder.name, folder, None, "folder")
    card = card_or_none(model)
    if card is not None and card.embedded:
        _refuse_revision(revision, model, "part of the installation")
        path = paths.assets() / card.name
        check_folder(path)
        return ModelSource(card.name, path, card, "embedded")
    asked = wanted(model, revision)
    path, origin = search(asked, progress)
    return ModelSource(asked.name, path, asked.card, origin)


def _local_folder(model: str) -> Path | None:
    """The folder that `model` names, checked; None where it is no path and no model's folder of that name lies here."""
    written_as_path = model.startswith(("/", ".", "~")) or model.endswith("/")
    try:
        folder = Path(model).expanduser()
        holds_weights = any((folder / name).is_file() for name in (CONFIG, "adapter_config.json"))
        if written_as_path or holds_weights or any(folder.glob("*.gguf")):
            check_folder(folder)
            return folder.resolve()
    except (OSError, RuntimeError) as error:  # no permission, a name too long, the home of an unknown user
        raise ModelError(f"The model folder {model} cannot be read: {error}.", "Check the path.") from None
    return None


def _refuse_revision(revision: str | None, model: str, kind: str) -> None:
    if revision is not None:
        raise ModelError(f"{model} is {kind}, so the revision {revision!r} has no meaning.", "Leave the revision out.")
