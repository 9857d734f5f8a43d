"""A model to measure and the base it is measured against, found, and loaded together on this process's device."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import nn
from transformers import PreTrainedTokenizerBase

from quickalign.core.errors import QuickalignError
from quickalign.core.hyperparameters import Hyperparameters, Precision
from quickalign.data.tokenizer import load_tokenizer
from quickalign.hub import source as hub
from quickalign.hub.fingerprint import model_fingerprint
from quickalign.train import trained
from quickalign.train.answer import adapter_off
from quickalign.train.device import ComputePrecision, find_device, resolve_precision
from quickalign.train.manifest import weights_sha256
from quickalign.train.model import DTYPES, load_base
from quickalign.train.prompts import PromptEncoder
from quickalign.train.trained import Found

DEFAULT_BETA = 0.1


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured: a model, and what it is compared with.

    Attributes:
        name: as it was asked for.
        found: its folders and manifest.
        base: the model to compare with; equal to `found` without the adapter where that is the base; None without one.
        base_name: what the base is called.
        tokenizer: the model's own.
        encoder: how prompts are rendered for it.
        precision: what both are computed in.
        system_prompt: of chats that bring none.
        note: why there is no base although the model was trained here; otherwise empty.
    """

    name: str
    found: Found
    base: Found | None
    base_name: str
    tokenizer: PreTrainedTokenizerBase
    encoder: PromptEncoder
    precision: ComputePrecision
    system_prompt: str
    note: str = ""

    @property
    def toggles(self) -> bool:
        """Whether the base is the same weights with the adapter switched off, so that one model is both."""
        return self.found.adapter is not None and self.base == _without_adapter(self.found)

    @property
    def beta(self) -> float:
        """What log-ratios are multiplied by to be rewards: dpo_beta of the training, 0.1 for other models."""
        manifest = self.found.manifest
        if manifest is None or manifest.training_strategy != "dpo":
            return DEFAULT_BETA
        return Hyperparameters.model_validate(manifest.hyperparameters).dpo_beta

    @property
    def apply_chat_template(self) -> bool:
        """Whether prompts are rendered as a chat."""
        return trained.is_chat(self.tokenizer, self.found.manifest)


def find_subject(
    source: str,
    *,
    base: str | None = None,
    alone: bool = False,
    system_prompt: str | None,
    precision: Precision,
    progress: hub.Progress | None,
) -> Subject:
    """Find the model that `source` names and, unless it is wanted `alone`, its base, and load its tokenizer.

    Raises:
        ModelError: it, or the base that was asked for, cannot be found.
        OptionError: an option that has no effect on it.
    """
    found = trained.find(source, None, progress)
    other, name, note = (None, "", "") if alone else _find_base(found, base, progress)
    device = find_device()
    chosen = trained.precision_of(found.manifest, device) if precision == "auto" else None
    tokenizer = load_tokenizer(found.tokenizer)
    return Subject(
        name=source,
        found=found,
        base=other,
        base_name=name,
        tokenizer=tokenizer,
        encoder=trained.encoder_of(tokenizer, found.manifest, system_prompt),
        precision=chosen or resolve_precision(precision, device),
        system_prompt=trained.system_prompt_of(tokenizer, found.manifest, system_prompt),
        note=note,
    )


def _find_base(found: Found, asked: str | None, progress: hub.Progress | None) -> tuple[Found | None, str, str]:
    """The base, its name, and why there is none although there should be one."""
    if asked is not None:
        other = trained.find(asked, None, progress)
        return other, asked, ""
    if found.adapter is not None:
        return _without_adapter(found), found.base or "base", ""
    if found.manifest is None:
        return None, "", ""
    reference = found.manifest.base
    try:
        source = hub.resolve(reference.source, revision=reference.revision, progress=progress)
    except QuickalignError as error:
        return None, "", f"The base that was trained on cannot be had, so nothing is compared with it: {error.message}"
    if source.fingerprint != reference.fingerprint:
        return None, "", f"{source.path} holds other weights than were trained on, so nothing is compared with them."
    return Found(source.path, source.path, None, None, None), source.name, ""


def _without_adapter(found: Found) -> Found:
    """The base of an adapter, loaded as it was in training."""
    return Found(found.weights, found.weights, None, None, found.manifest)


def identity(found: Found, precision: str) -> dict[str, str]:
    """What decides a model's log-probs and answers besides the tokens."""
    adapter = weights_sha256(found.adapter) if found.adapter else ""
    if found.adapter:
        config = (found.adapter / "adapter_config.json").read_bytes()
        adapter += hashlib.sha256(config).hexdigest()
    quantization = found.manifest.quantization if found.manifest else "none"
    return {
        "model": model_fingerprint(found.weights),
        "adapter": adapter,
        "precision": precision,
        "quantization": quantization,
    }


class Loaded:
    """A subject's weights in memory: `model`, and its base behind `as_base`."""

    def __init__(self, subject: Subject) -> None:
        self.device = find_device().torch_device
        self.model = _load(subject.found, subject.precision)
        self._toggles = subject.toggles
        self._base: nn.Module | None = None
        if subject.base is not None and not subject.toggles:
            self._base = _load(subject.base, subject.precision)

    @property
    def has_base(self) -> bool:
        """Whether there is something to compare with."""
        return self._toggles or self._base is not None

    @contextmanager
    def as_base(self) -> Iterator[nn.Module]:
        """The base for the length of the block."""
        if self._base is not None:
            yield self._base
            return
        with adapter_off(self.model):
            yield self.model


def _load(found: Found, precision: ComputePrecision) -> nn.Module:
    quantization = found.manifest.quantization if found.manifest else "none"
    device = find_device().torch_device
    base: nn.Module = load_base(found.weights, dtype=DTYPES[precision], quantization=quantization, device=device)
    model = base if found.adapter is None else trained.with_adapter(base, found.adapter)
    return model.eval()


def manifest_folder(found: Found) -> Path:
    """The folder whose manifest was read: the adapter's, or the model's."""
    return found.adapter or found.weights
