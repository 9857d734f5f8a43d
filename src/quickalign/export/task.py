"""What an export starts from: the trained weights, their manifest, and real rows to prove parity on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from quickalign.core.errors import ModelError
from quickalign.data.encode import EncodedRow
from quickalign.data.tokenizer import load_tokenizer
from quickalign.export.gguf.support import demand
from quickalign.export.rows import parity_rows
from quickalign.export.spec import GGUF, LIMITS, ExportSpec
from quickalign.hub.licence import license_of
from quickalign.hub.shape import read_shape
from quickalign.train import manifest as manifests
from quickalign.train import trained
from quickalign.train.manifest import Manifest
from quickalign.train.prompts import PromptEncoder
from quickalign.train.trained import Found

_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
_GGUF_TYPES = {"fp32": "F32", "bf16": "BF16", "fp16": "F16"}
_ROUNDED_BYTES = 34 / 32
"""Of a weight in GGUF's blocks of 32 with their scales, at most: of 4 bits, embedding and head have 8."""
_BESIDES_WEIGHTS = 64 << 20


@dataclass(frozen=True, slots=True)
class Task:
    """An export before anything is loaded. `stored` is the precision that weights are stored in."""

    spec: ExportSpec
    found: Found
    manifest: Manifest
    encoder: PromptEncoder
    rows: list[EncodedRow]
    stored: str

    @property
    def source(self) -> Path:
        """The folder of what was trained."""
        return self.found.adapter or self.found.weights

    @property
    def limit(self) -> float:
        """The parity limit, in nats per token. llama.cpp keeps keys and values in fp16, whatever weights are in."""
        kind = self.stored if self.spec.compression in ("none", GGUF) else self.spec.compression
        least = LIMITS["fp16"] if self.gguf_type is not None else 0.0
        return self.spec.parity_limit or max(LIMITS[kind], least)

    @property
    def gguf_type(self) -> str | None:
        """GGUF's name of what matrices are stored in; None for an export in Hugging Face layout."""
        if not self.spec.compression.startswith(GGUF):
            return None
        return (
            _GGUF_TYPES[self.stored]
            if self.spec.compression == GGUF
            else self.spec.compression.removeprefix(f"{GGUF}-").upper()
        )

    @property
    def name(self) -> str:
        """What the export calls itself, whatever folder it is copied to."""
        return f"{self.manifest.base.name.rpartition('/')[2]}-{self.manifest.training_strategy}"

    @property
    def license(self) -> str:
        """The licence that the export names."""
        return self.spec.license or license_of(self.manifest.base.name, self.found.weights)

    @property
    def form(self) -> str:
        """How weights are stored, in words."""
        compression = self.spec.compression
        if self.gguf_type is not None:
            return f"GGUF, {self.gguf_type}"
        return self.stored if compression == "none" else f"{compression}, computed in {self.stored}"

    @property
    def bytes(self) -> int:
        """What the export takes on disk while it is made, about: a compressed one is made from a whole one."""
        each = _ROUNDED_BYTES if self.spec.compression.startswith(f"{GGUF}-") else _BYTES[self.stored]
        return int(read_shape(self.found.weights).parameters * each) + _BESIDES_WEIGHTS


def prepare(spec: ExportSpec) -> Task:
    """Find what is exported and the rows that prove it.

    Raises:
        ModelError: there is nothing that was trained here, it was changed since, its base is not to be had, or no GGUF
            file can be made of it.
        OptionError: there are no rows, or packages that GGUF needs are not installed.
        DataError, StorageError: the rows that were named cannot be read.
    """
    found = trained.find(spec.model)
    manifest = found.manifest
    if manifest is None:
        raise ModelError(
            f"{spec.model} holds nothing that was trained here: it has no {manifests.FILE}.",
            "Name a finished run's folder, or the adapter's folder in it.",
        )
    if manifest.files:
        raise ModelError(f"{spec.model} is an export already.", "Name the run that it was made from.")
    tokenizer = load_tokenizer(found.tokenizer)
    if spec.compression.startswith(GGUF):
        demand(found.weights, tokenizer)
    return Task(
        spec=spec,
        found=found,
        manifest=manifest,
        encoder=trained.encoder_of(tokenizer, manifest, None),
        rows=parity_rows(spec, found.adapter or found.weights, manifest, tokenizer),
        stored=_stored(spec, manifest),
    )


def _stored(spec: ExportSpec, manifest: Manifest) -> str:
    if spec.compression.startswith(f"{GGUF}-"):
        return "fp32"  # what is rounded to fewer bits
    return manifest.precision if spec.precision == "auto" else spec.precision
