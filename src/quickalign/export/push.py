"""Copying an exported folder to a storage URI or a model repository: what is there already is not sent again.

To a storage URI the manifest goes last, so that a folder with a manifest is whole; to `hf://owner/name` all goes in one
commit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from quickalign.core import atomic, paths, storage
from quickalign.core.checksums import sha256_of
from quickalign.core.errors import ModelError, OptionError
from quickalign.export import huggingface

MANIFEST = "quickalign.json"


@dataclass(frozen=True, slots=True)
class Sent:
    """One file of a push. `needed` is False where the same content was sent there by an earlier call."""

    name: str
    bytes: int
    target: str
    needed: bool


def plan(folder: Path, uri: str) -> tuple[Sent, ...]:
    """What a push would send, in its order; the dry run.

    Raises:
        ModelError: the folder is no export, or a file is not what its manifest says.
        OptionError: the target names no repository.
        StorageError, AccessError, UnavailableError: the target cannot be looked at.
    """
    hashes = _hashes(folder)
    if uri.startswith(huggingface.SCHEME):
        return _plan_repository(folder, hashes, uri)
    known = _read(uri)
    return tuple(
        Sent(
            name=name,
            bytes=(size := (folder / name).stat().st_size),
            target=(target := f"{uri.rstrip('/')}/{name}"),
            needed=known.get(name) != digest or not _is_there(target, size),
        )
        for name, digest in hashes.items()
    )


def push(
    folder: Path, uri: str, progress: Callable[[Sent], None] = lambda sent: None, *, private: bool = False
) -> tuple[Sent, ...]:
    """Send what is not there yet; `progress` is told of each file when it is there. A second call goes on.

    Args:
        folder: the export.
        uri: where it goes.
        progress: told of each file.
        private: whether a repository of Hugging Face is to be private.

    Raises:
        ModelError: the folder is no export, or a file is not what its manifest says.
        OptionError: `private` has no effect on the target.
        StorageError, AccessError, ConflictError, UnavailableError: the target cannot be written.
    """
    demand_effect(uri, private=private)
    if uri.startswith(huggingface.SCHEME):
        planned = plan(folder, uri)
        names = tuple(one.name for one in planned if one.needed)
        huggingface.send(folder, names, huggingface.repository(uri), private=private)
        for one in planned:
            progress(one)
        return planned
    hashes, known = _hashes(folder), dict(_read(uri))
    planned = plan(folder, uri)
    for one in planned:
        if one.needed:
            storage.write_file(folder / one.name, one.target)
            known[one.name] = hashes[one.name]
            atomic.write_text(_memory(uri), json.dumps(known, indent=1, sort_keys=True) + "\n")
        progress(one)
    return planned


def demand_effect(uri: str, *, private: bool) -> None:
    """Refuse what the target cannot honour.

    Raises:
        OptionError: names it.
    """
    if private and not uri.startswith(huggingface.SCHEME):
        raise OptionError(f"--private has no effect on {uri}.", "Only hf://owner/name can be private; leave it out.")


def _plan_repository(folder: Path, hashes: dict[str, str], uri: str) -> tuple[Sent, ...]:
    repo = huggingface.repository(uri)
    open_ones = huggingface.needed(folder, hashes, repo)
    return tuple(
        Sent(name, (folder / name).stat().st_size, f"{huggingface.SCHEME}{repo}/{name}", name in open_ones)
        for name in hashes
    )


def _hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file by name, checked against the manifest, which comes last."""
    if not folder.is_dir():
        raise ModelError(f"There is no folder {folder}.", "Give a folder that `quickalign export` has made.")
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files: dict[str, str] = manifest["files"]
    except (OSError, ValueError, KeyError, TypeError):
        files = {}
    if not files:
        raise ModelError(f"{folder} is no export: its {MANIFEST} names no files.", "Make one with `quickalign export`.")
    for name, wanted in files.items():
        if not (folder / name).is_file() or sha256_of(folder / name) != wanted:
            raise ModelError(f"{folder / name} is not as it was exported.", "Export the run again.")
    return {**files, MANIFEST: sha256_of(folder / MANIFEST)}


def _is_there(target: str, size: int) -> bool:
    return storage.exists(target) and storage.size(target) == size


def _memory(uri: str) -> Path:
    """Which content was sent to `uri` from this machine."""
    return paths.home() / "cache" / "pushed" / f"{hashlib.sha256(uri.rstrip('/').encode()).hexdigest()[:24]}.json"


def _read(uri: str) -> dict[str, str]:
    """A missing or damaged file only costs time: everything is sent again."""
    try:
        known = json.loads(_memory(uri).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
