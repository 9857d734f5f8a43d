"""What an exported folder carries besides weights: tokenizer, template, card, record, and a manifest of all hashes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from quickalign.data.tokenizer import load_tokenizer
from quickalign.export import card, record
from quickalign.export.parity import Parity
from quickalign.export.task import Task
from quickalign.train import manifest as manifests
from quickalign.train.manifest import weights_sha256


def describe(task: Task, parity: Parity, folder: Path) -> None:
    """Write everything besides the weights into `folder`, the manifest last."""
    load_tokenizer(task.found.tokenizer).save_pretrained(folder)
    licence = task.spec.license or card.license_of(task.manifest.base.name, task.found.weights)
    report = card.read_report(task.source.parent)
    text = card.write_card(task.spec, task.manifest, parity, report, licence, task.form)
    (folder / card.FILE).write_text(text, encoding="utf-8")
    record.write(task, parity, folder)
    files = {file.name: file_sha256(file) for file in sorted(folder.iterdir()) if file.is_file()}
    update: dict[str, Any] = {"kind": "model", "precision": task.stored, "files": files, "beside": {}}
    update["weights_sha256"] = weights_sha256(folder)
    manifests.write(folder, task.manifest.model_copy(update=update))


def file_sha256(file: Path) -> str:
    """SHA-256 (hex) of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
