"""`export.json`: what an export was asked for, what it is of, and the parity that was seen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from quickalign.core.errors import ConflictError
from quickalign.export.parity import Parity
from quickalign.export.spec import ExportSpec
from quickalign.export.task import Task
from quickalign.train import manifest as manifests

FILE = "export.json"


class Record(BaseModel):
    """The content of `export.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trained_sha256: str = Field(description="Of the trained weights that were exported.")
    form: str = Field(description="How weights are stored.")
    spec: ExportSpec
    parity: Parity


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export gives. `made` is False where the folder was there already."""

    folder: Path
    parity: Parity
    bytes: int
    weights_sha256: str
    form: str
    made: bool


def write(task: Task, parity: Parity, folder: Path) -> None:
    """Put the record into `folder`."""
    record = Record(trained_sha256=task.manifest.weights_sha256, form=task.form, spec=task.spec, parity=parity)
    (folder / FILE).write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")


def existing(task: Task) -> Exported | None:
    """The export that is asked for, where it is there already.

    Raises:
        ConflictError: something else is there.
    """
    output = task.spec.output
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return None
    try:
        record = Record.model_validate_json((output / FILE).read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        raise ConflictError(
            f"{output} exists and is no export.", "Name a folder that does not exist, or remove this one."
        ) from None
    same_spec = record.spec.model_copy(update={"output": output}) == task.spec
    if not same_spec or record.trained_sha256 != task.manifest.weights_sha256:
        raise ConflictError(
            f"{output} holds an export of other weights or with other settings.",
            "Name another folder, or remove this one.",
        )
    return exported(task, record.parity, made=False)


def exported(task: Task, parity: Parity, *, made: bool) -> Exported:
    """The export that `task` has made."""
    folder = task.spec.output
    manifest = manifests.read(folder)
    assert manifest is not None
    size = sum(file.stat().st_size for file in folder.iterdir())
    return Exported(folder, parity, size, manifest.weights_sha256, task.form, made)
