"""Copying what a finished run leaves to where its job wants it."""

from pathlib import Path

from quickalign.core import storage

_FOLDERS = ("adapter", "model", "tensorboard")
_FILES = ("spec.json", "metrics.jsonl", "evaluations.jsonl", "warnings.jsonl", "report.html", "report.json")
_LAST = "result.json"
_EXPORT, _MANIFEST = "export.json", "quickalign.json"


def copy_results(results: Path, target: str) -> None:
    """Copy weights, report and metrics of the run in `results` to the folder or URI `target`; `result.json` goes last.

    An exported folder is copied whole, its manifest last.

    Raises:
        StorageError: the target cannot be written.
    """
    base = target.rstrip("/")
    for file in _wanted(results):
        storage.write_file(file, f"{base}/{file.relative_to(results).as_posix()}")


def _wanted(results: Path) -> list[Path]:
    if (results / _EXPORT).is_file():
        files = [file for file in sorted(results.iterdir()) if file.is_file()]
        return sorted(files, key=lambda file: file.name == _MANIFEST)
    inside = [file for name in _FOLDERS for file in sorted((results / name).rglob("*")) if file.is_file()]
    beside = [results / name for name in (*_FILES, _LAST)]
    return inside + [file for file in beside if file.is_file()]
