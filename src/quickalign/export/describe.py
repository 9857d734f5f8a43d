"""What an exported folder carries besides weights: tokenizer, template, card, record, and a manifest of all hashes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quickalign.core.checksums import sha256_of
from quickalign.data.tokenizer import load_tokenizer
from quickalign.export import card, record
from quickalign.export.gguf import writer
from quickalign.export.parity import Parity
from quickalign.export.task import Task
from quickalign.train import manifest as manifests
from quickalign.train.manifest import weights_sha256


def describe(task: Task, parity: Parity, folder: Path) -> None:
    """Write everything besides the weights into `folder`, the manifest last."""
    if task.gguf_type is None:
        load_tokenizer(task.found.tokenizer).save_pretrained(folder)
    report = card.read_report(task.source.parent)
    (folder / card.FILE).write_text(card.write_card(task, parity, report), encoding="utf-8")
    record.write(task, parity, folder)
    files = {file.name: sha256_of(file) for file in sorted(folder.iterdir()) if file.is_file()}
    kind = "model" if task.gguf_type is None else "gguf"
    update: dict[str, Any] = {"kind": kind, "precision": task.stored, "files": files, "beside": {}}
    update["weights_sha256"] = files.get(writer.NAME) or weights_sha256(folder)
    manifests.write(folder, task.manifest.model_copy(update=update))
