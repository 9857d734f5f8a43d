"""Copying what a finished run leaves to where its job wants it."""

from pathlib import Path

from quickalign.core import storage
from quickalign.core.errors import StorageError

_FOLDERS = ("adapter", "model", "tensorboard")
_FILES = ("spec.json", "metrics.jsonl", "evaluations.jsonl", "warnings.jsonl", "report.html", "report.json")
_LAST = "result.json"
_EXPORT, _MANIFEST = "export.json", "quickalign.json"
_ADAPTER, _MODEL = "adapter", "model"


def copy_results(results: Path, target: str) -> None:
    """Copy weights, report and metrics of the run in `results` to the folder or URI `target`; `result.json` goes last.

    An exported folder is copied whole, its manifest last.

    Raises:
        StorageError: the target cannot be written, or holds the weights of another run.
    """
    base = target.rstrip("/")
    wanted = _wanted(results)
    if (results / _MODEL).is_dir() and (place := storage.local_path(base)) is not None:
        check_place(base)
        _remove_other_shards(place / _MODEL, {file.name for file in wanted})
    for file in wanted:
        storage.write_file(file, f"{base}/{file.relative_to(results).as_posix()}")


def check_place(target: str) -> None:
    """Refuse a local folder for a run that writes its model there, where an adapter would be taken for what it trained.

    Raises:
        StorageError: the folder holds the adapter of another run.
    """
    place = storage.local_path(target)
    if place is not None and (place / _ADAPTER / _MANIFEST).is_file():
        raise StorageError(
            f"{place} holds the {_ADAPTER} of another run, which would be served in place of the {_MODEL} of this one.",
            "Name another output, or move the adapter away.",
        )


def _remove_other_shards(folder: Path, wanted: set[str]) -> None:
    """Weights that an earlier run cut into other files would be read together with, or in place of, the new ones."""
    if (folder / _MANIFEST).is_file():
        for file in folder.glob("*.safetensors*"):
            if file.name not in wanted:
                file.unlink()


def _wanted(results: Path) -> list[Path]:
    if (results / _EXPORT).is_file():
        files = [file for file in sorted(results.iterdir()) if file.is_file()]
        return sorted(files, key=lambda file: file.name == _MANIFEST)
    inside = [file for name in _FOLDERS for file in sorted((results / name).rglob("*")) if file.is_file()]
    beside = [results / name for name in (*_FILES, _LAST)]
    return inside + [file for file in beside if file.is_file()]
