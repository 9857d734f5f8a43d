"""Loading a model to answer with: a model's name or folder, an adapter's folder, or a run's folder.

What was trained is loaded as it was trained: the manifest `quickalign.json` names the base and its fingerprint, how the
base was quantised, and how prompts are rendered. A base that is not the one trained on is refused.
"""

from dataclasses import dataclass
from pathlib import Path

from peft import PeftModel
from safetensors import SafetensorError
from torch import nn
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from quickalign.core.errors import ModelError, OptionError
from quickalign.core.hyperparameters import DEFAULT_SYSTEM_PROMPT, Hyperparameters, Quantization
from quickalign.hub import source as hub
from quickalign.train import manifest as manifests
from quickalign.train.answer import Generator
from quickalign.train.device import ComputePrecision, Device, find_device, resolve_precision
from quickalign.train.manifest import Manifest
from quickalign.train.model import DTYPES, load_base
from quickalign.train.prompts import PromptEncoder

_RUN_FOLDERS = ("adapter", "model")


@dataclass(frozen=True, slots=True)
class _Found:
    """What a source names: the folder of its weights and tokenizer, and the adapter on them where there is one."""

    weights: Path
    tokenizer: Path
    adapter: Path | None
    base: str | None
    manifest: Manifest | None


def load_for_generation(
    source: str,
    *,
    revision: str | None = None,
    system_prompt: str | None = None,
    progress: hub.Progress | None = None,
) -> Generator:
    """Load what `source` names, on this process's device and in the precision it was trained in.

    A chip that has not that precision computes in its own best; `Generator.precision` says in which.

    Args:
        source: a model card's name, a Hugging Face id, a model's or an adapter's folder, or a run's folder.
        revision: of a model that is not a folder.
        system_prompt: replaces the one of the training (the default one for a model that was not trained here); empty
            adds none.
        progress: told of downloads.

    Raises:
        ModelError: nothing that can be loaded is there, or the adapter was trained on another base.
        OptionError: an option that has no effect on this source.
    """
    found = _find(source, revision, progress)
    device = find_device()
    precision = _precision(found.manifest, device)
    try:
        tokenizer = AutoTokenizer.from_pretrained(found.tokenizer)
    except (OSError, ValueError) as error:
        raise ModelError(f"The tokenizer in {found.tokenizer} cannot be loaded: {_first_line(error)}") from None
    encoder = _encoder(tokenizer, found.manifest, system_prompt)
    model = load_base(
        found.weights,
        dtype=DTYPES[precision],
        quantization=_quantization(found.manifest),
        device=device.torch_device,
    )
    if found.adapter is None:
        return Generator(model, encoder, name=source, base=None, precision=precision)
    return Generator(_with_adapter(model, found.adapter), encoder, name=source, base=found.base, precision=precision)


def _find(source: str, revision: str | None, progress: hub.Progress | None) -> _Found:
    folder = _trained_folder(Path(source).expanduser())
    if folder is None:
        found = hub.resolve(source, revision=revision, progress=progress)
        return _Found(found.path, found.path, None, None, None)
    if revision is not None:
        raise OptionError(f"revision={revision!r} has no effect on the folder {source}.", "Leave revision out.")
    manifest = manifests.read(folder)
    if not manifests.is_adapter(folder):
        return _Found(folder, folder, None, None, manifest)
    base = manifests.base_of(folder)
    # An adapter of another trainer may come without a tokenizer; then its base's is the one it was trained with.
    tokenizer = folder if (folder / "tokenizer_config.json").is_file() else base.path
    return _Found(base.path, tokenizer, folder, base.name, manifest)


def _trained_folder(path: Path) -> Path | None:
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


def _precision(manifest: Manifest | None, device: Device) -> ComputePrecision:
    if manifest is None:
        return resolve_precision("auto", device)
    trained = Hyperparameters.model_validate(manifest.hyperparameters | {"precision": manifest.precision}).precision
    try:
        return resolve_precision(trained, device)
    except OptionError:
        return resolve_precision("auto", device)


def _quantization(manifest: Manifest | None) -> Quantization:
    return Hyperparameters.model_validate(manifest.hyperparameters).quantization if manifest else "none"


def _encoder(tokenizer: PreTrainedTokenizerBase, manifest: Manifest | None, system_prompt: str | None) -> PromptEncoder:
    """A model that was not trained here and has no chat template goes on from plain text."""
    chat = manifest.apply_chat_template if manifest else bool(tokenizer.chat_template)
    if system_prompt is not None and not chat:
        raise OptionError(
            "system_prompt has no effect: this model works without a chat template.",
            "Put the text into the prompt, and leave system_prompt out.",
        )
    trained = manifest.system_prompt if manifest else DEFAULT_SYSTEM_PROMPT
    wanted = trained if system_prompt is None else system_prompt
    return PromptEncoder(tokenizer, apply_chat_template=chat, system_prompt=wanted if chat else "")


def _with_adapter(model: nn.Module, adapter: Path) -> PeftModel:
    try:
        return PeftModel.from_pretrained(model, str(adapter))
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise ModelError(f"The adapter in {adapter} cannot be loaded: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
