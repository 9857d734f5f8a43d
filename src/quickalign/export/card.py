"""The model card of an export, written from what the run itself recorded."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import ValidationError

from quickalign.core.hyperparameters import Hyperparameters
from quickalign.export.gguf.writer import NAME as GGUF_FILE
from quickalign.export.parity import Parity
from quickalign.export.task import Task
from quickalign.train.report import formats
from quickalign.train.report.build import changed_options
from quickalign.train.report.model import Report

FILE = "README.md"
_TOLD_APART = ("model", "system_prompt", "training_strategy", "seq_length")


def read_report(run: Path) -> Report | None:
    """The training report of a finished run; None where there is none, as for a checkpoint."""
    file = run / "report.json"
    if not file.is_file():
        return None
    try:
        return Report.model_validate_json(file.read_text(encoding="utf-8"))
    except ValidationError:
        return None


def write_card(task: Task, parity: Parity, report: Report | None) -> str:
    """The text of the card."""
    manifest = task.manifest
    parameters = Hyperparameters.model_validate(manifest.hyperparameters)
    environment = Environment(  # noqa: S701 - the card is Markdown, not HTML
        loader=PackageLoader("quickalign.export"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"bytes": formats.size, "percent": formats.percent, "number": formats.number}
    environment.filters["quoted"] = lambda text: json.dumps(text, ensure_ascii=False)  # in Python it says the same
    front = {
        "license": task.license,
        "base_model": manifest.base.name,
        **({"library_name": "transformers"} if task.gguf_type is None else {}),
        "pipeline_tag": "text-generation",
        "tags": ["quickalign", manifest.training_strategy],
    }
    changed = [name for name in changed_options(parameters) if name not in _TOLD_APART]
    return environment.get_template("card.md.j2").render(
        front=yaml.safe_dump(front, sort_keys=False, allow_unicode=True).strip(),
        name=task.name,
        manifest=manifest,
        parity=parity,
        report=report,
        stored=task.form,
        gguf=None if task.gguf_type is None else GGUF_FILE,
        smaller=task.gguf_type in ("F32", "BF16", "F16"),
        options={name: getattr(parameters, name) for name in changed},
        license=task.license,
    )
