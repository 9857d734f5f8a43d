"""The model card of an export, written from what the run itself recorded."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import ValidationError

from quickalign.core.hyperparameters import Hyperparameters
from quickalign.export.parity import Parity
from quickalign.export.spec import ExportSpec
from quickalign.hub.cards import card_or_none
from quickalign.train.manifest import Manifest
from quickalign.train.report import formats
from quickalign.train.report.build import changed_options
from quickalign.train.report.model import Report

FILE = "README.md"
_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
_TOLD_APART = ("model", "system_prompt", "training_strategy", "seq_length")


def license_of(name: str, weights: Path) -> str:
    """The licence of a base: what its own card says in its folder, else the model card of its name, else `other`."""
    readme = weights / FILE
    if readme.is_file() and (found := _FRONT_MATTER.match(readme.read_text(encoding="utf-8", errors="replace"))):
        try:
            values = yaml.safe_load(found[1])
        except yaml.YAMLError:
            values = None
        if isinstance(values, dict) and isinstance(values.get("license"), str):
            return str(values["license"])
    card = card_or_none(name)
    return card.license.name.lower() if card else "other"


def read_report(run: Path) -> Report | None:
    """The training report of a finished run; None where there is none, as for a checkpoint."""
    file = run / "report.json"
    if not file.is_file():
        return None
    try:
        return Report.model_validate_json(file.read_text(encoding="utf-8"))
    except ValidationError:
        return None


def write_card(
    spec: ExportSpec, manifest: Manifest, parity: Parity, report: Report | None, license_name: str, stored: str
) -> str:
    """The text of the card."""
    parameters = Hyperparameters.model_validate(manifest.hyperparameters)
    environment = Environment(  # noqa: S701 - the card is Markdown, not HTML
        loader=PackageLoader("quickalign.export"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"bytes": formats.size, "percent": formats.percent, "number": formats.number}
    environment.filters["quoted"] = lambda text: json.dumps(text, ensure_ascii=False)  # in Python it says the same
    front = {
        "license": license_name,
        "base_model": manifest.base.name,
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["quickalign", manifest.training_strategy],
    }
    changed = [name for name in changed_options(parameters) if name not in _TOLD_APART]
    return environment.get_template("card.md.j2").render(
        front=yaml.safe_dump(front, sort_keys=False, allow_unicode=True).strip(),
        name=spec.output.resolve().name,
        manifest=manifest,
        parity=parity,
        report=report,
        stored=stored,
        options={name: getattr(parameters, name) for name in changed},
        license=license_name,
    )
