"""What a source names: a model's name or folder, an adapter's folder, or a run's folder; and how it was trained.

The manifest `quickalign.json` names the base and its fingerprint, how the base was quantised, and how prompts are
rendered. A base that is not the one trained on is refused.
"""

from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from quickalign.core.errors import ModelError, OptionError
from quickalign.core.hyperparameters import DEFAULT_SYSTEM_PROMPT, Hyperparameters
from quickalign.hub import source as hub
from quickalign.hub.folder import refuse_gguf
from quickalign.train import manifest as manifests
from quickalign.train.device import ComputePrecision, Device, resolve_precision
from quickalign.train.manifest import Manifest
from quickalign.train.prompts import PromptEncoder

_RUN_FOLDERS = ("adapter", "model")


@dataclass(frozen=True, slots=True)
class Found:
    """What a source names: the folder of its weights and tokenizer, and the adapter on them where there is one.

    `base` is the name of the base that an adapter is on. `manifest` is None for what was not trained here.
    """

    weights: Path
    tokenizer: Path
    adapter: Path | None
    base: str | None
    manifest: Manifest | None


def find(
    source: str,
    revision: str | None = None,
    progress: hub.Progress | None = None,
    *,
    as_it_is: bool = False,
) -> Found:
    """Find what `source` names, and fetch it where it is not on this machine.

    Args:
        source: a model's name or folder, an adapter's folder, or a run's folder.
        revision: of a model that is not a folder.
        progress: told of downloads.
        as_it_is: also where it was changed since its training, for who says so himself.

    Raises:
        ModelError: nothing that can be loaded is there, it was changed since its training, or an adapter was trained
            on another base.
        OptionError: a revision of a folder.
    """
    folder = trained_folder(Path(source).expanduser())
    if folder is None:
        found = hub.resolve(source, revision=revision, progress=progress)
        return Found(found.path, found.path, None, None, None)
    if revision is not None:
        raise OptionError(f"revision={revision!r} has no effect on the folder {source}.", "Leave revision out.")
    refuse_gguf(folder)
    manifest = manifests.read(folder) if as_it_is else manifests.read_unchanged(folder)
    if not manifests.is_adapter(folder):
        return Found(folder, folder, None, None, manifest)
    base = manifests.base_of(folder)
    return Found(base.path, tokenizer_folder(folder, base.path), folder, base.name, manifest)


def tokenizer_folder(adapter: Path, base: Path) -> Path:
    """The folder with the tokenizer that an adapter was trained with: its own, or where another trainer left none, that
    of its base."""
    return adapter if (adapter / "tokenizer_config.json").is_file() else base


def trained_folder(path: Path) -> Path | None:
    """The folder of trained weights that `path` is or holds; None where `path` names a model.

    Raises:
        ModelError: `path` is the folder of a run that has not finished.
    """
    for folder in (path, *(path / name for name in _RUN_FOLDERS)):
        if manifests.is_adapter(folder) or (folder / manifests.FILE).is_file():
            return folder
    if not (path / "checkpoints").is_dir():
        return None
    saved = sorted((path / "checkpoints").glob("step-*"))
    remedy = f"Its last checkpoint can be named: {saved[-1]}." if saved else "Run it again to go on."
    raise ModelError(f"The run in {path} has not finished, so there is no model of it yet.", remedy)


def precision_of(manifest: Manifest | None, device: Device) -> ComputePrecision:
    """The precision of the training; the chip's own best where it was not trained here or the chip has not that one."""
    if manifest is None:
        return resolve_precision("auto", device)
    trained = Hyperparameters.model_validate(manifest.hyperparameters | {"precision": manifest.precision}).precision
    try:
        return resolve_precision(trained, device)
    except OptionError:
        return resolve_precision("auto", device)


def encoder_of(
    tokenizer: PreTrainedTokenizerBase, manifest: Manifest | None, system_prompt: str | None
) -> PromptEncoder:
    """How prompts become tokens; see `system_prompt_of`."""
    chosen = system_prompt_of(tokenizer, manifest, system_prompt)
    chat = is_chat(tokenizer, manifest)
    return PromptEncoder(tokenizer, apply_chat_template=chat, system_prompt=chosen)


def is_chat(tokenizer: PreTrainedTokenizerBase, manifest: Manifest | None) -> bool:
    """Whether prompts are chats. A model that was not trained here and has no chat template goes on from plain text."""
    return manifest.apply_chat_template if manifest else bool(tokenizer.chat_template)


def system_prompt_of(tokenizer: PreTrainedTokenizerBase, manifest: Manifest | None, system_prompt: str | None) -> str:
    """`system_prompt`, or where it is None the one of the training; empty without a chat template.

    Raises:
        OptionError: a system prompt where there is no chat template.
    """
    chat = is_chat(tokenizer, manifest)
    if system_prompt is not None and not chat:
        raise OptionError(
            "system_prompt has no effect: this model works without a chat template.",
            "Put the text into the prompt, and leave system_prompt out.",
        )
    trained = manifest.system_prompt if manifest else DEFAULT_SYSTEM_PROMPT
    wanted = trained if system_prompt is None else system_prompt
    return wanted if chat else ""
