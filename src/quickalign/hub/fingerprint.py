"""A model's content hash: the same weights and configuration give the same fingerprint, wherever they lie."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quickalign.core import atomic, paths
from quickalign.core.checksums import sha256_of
from quickalign.hub.folder import CONFIG, read_json, weight_files

# What a library writes into config.json about itself; it changes nothing in the model.
_NO_CONTENT = ("transformers_version", "_name_or_path")


def model_fingerprint(path: Path) -> str:
    """SHA-256 (hex) over the SHA-256 of each weights file, in the order of their names, and the configuration.

    Raises:
        ModelError: the folder holds no whole model.
    """
    config = {key: value for key, value in read_json(path / CONFIG).items() if key not in _NO_CONTENT}
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, separators=(",", ":")).encode())
    for file in weight_files(path):
        digest.update(file_sha256(file).encode())
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file; remembered while its size and modification time stay the same."""
    known = _read()
    key, state = str(path.resolve()), _state(path)
    entry = known.get(key)
    if entry is not None and entry.get("state") == state:
        return str(entry["sha256"])
    sha256 = sha256_of(path)
    remember_sha256(path, sha256)
    return sha256


def remember_sha256(path: Path, sha256: str) -> None:
    """Keep a hash that was computed while the file was written, so that it need not be read again."""
    kept = {name: entry for name, entry in _read().items() if Path(name).exists()}
    kept[str(path.resolve())] = {"state": _state(path), "sha256": sha256}
    atomic.write_text(_memory(), json.dumps(kept, indent=1, sort_keys=True))


def _memory() -> Path:
    return paths.home() / "cache" / "fingerprints.json"


def _state(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


def _read() -> Mapping[str, Any]:
    """What was remembered; a missing or damaged file only costs time."""
    try:
        content = json.loads(_memory().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
