"""Brings a model's files to this machine: resumable, checked, and whole or absent.

Files gather in a hidden folder beside the target, each as `.incomplete` until its size and checksum are right; when
all are there the folder is checked as a model, gets a manifest, and is renamed. A process that is killed leaves what it
has, and the next one goes on from there. A lock keeps two processes from fetching the same model.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import httpx
from filelock import FileLock

from quickalign.core import atomic, paths
from quickalign.core.checksums import git_sha1_of, sha256_of
from quickalign.core.errors import ModelError, StorageError
from quickalign.hub.fingerprint import remember_sha256
from quickalign.hub.folder import CONFIG, check_config, check_folder, read_json
from quickalign.hub.repository import WEIGHTS_PATTERN, RemoteFile, Repository, Snapshot, Unavailable

Progress = Callable[[str, int, int], None]
"""Called with a file's name, the bytes of it that are here, and its size."""

MANIFEST = "quickalign-download.json"
RETRY_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Waits between attempts at one file; the count starts again whenever bytes arrive."""


def download(repository: Repository, snapshot: Snapshot, target: Path, progress: Progress | None = None) -> Path:
    """Fetch `snapshot` into the folder `target`, unless it is there already.

    Raises:
        ModelError: the disk is too small, a file differs from its checksum, the connection stays broken, or what came
            is no whole model that can be trusted.
        StorageError: the target's folder cannot be written.
    """
    try:
        paths.make_folder(target.parent)
        with FileLock(target.parent / f".{target.name}.lock"):
            if not is_complete(target):
                _gather(repository, snapshot, target, progress or _silent)
    except OSError as error:
        raise StorageError(
            f"{target.parent} cannot hold the model: {error.strerror or error}.",
            "Make it writable, or set QUICKALIGN_HOME to another folder.",
        ) from None
    return target


def is_complete(folder: Path) -> bool:
    """Whether a download into `folder` was finished and all its files still have their sizes."""
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        return all((folder / name).stat().st_size == entry["size"] for name, entry in files.items())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _gather(repository: Repository, snapshot: Snapshot, target: Path, progress: Progress) -> None:
    gathering = target.parent / f".{target.name}.{snapshot.key}.incomplete"
    _remove_others(target, gathering)
    gathering.mkdir(exist_ok=True)
    _check_disk(snapshot, gathering)
    hashes = _fetch_all(repository, snapshot, gathering, progress)
    check_folder(gathering)
    _write_manifest(repository, snapshot, gathering)
    if target.exists():
        shutil.rmtree(target)
    gathering.rename(target)
    for name, sha256 in hashes.items():
        remember_sha256(target / name, sha256)


def _fetch_all(repository: Repository, snapshot: Snapshot, folder: Path, progress: Progress) -> dict[str, str]:
    """Fetch every file, the small ones first; returns the SHA-256 of each weights file fetched now."""
    hashes = {}
    trusted = False
    for file in snapshot.files:
        is_weights = WEIGHTS_PATTERN.fullmatch(file.path) is not None
        if is_weights and not trusted:
            check_config(read_json(folder / CONFIG), snapshot.repo)
            trusted = True
        path = folder / file.path
        if not (path.exists() and path.stat().st_size == file.size):
            sha256 = _fetch(repository, file, path, progress)
            if is_weights:
                hashes[file.path] = sha256
        progress(file.path, file.size, file.size)
    return hashes


def _fetch(repository: Repository, file: RemoteFile, path: Path, progress: Progress) -> str:
    """Fetch one file, going on from what an earlier attempt left; returns its SHA-256."""
    partial = path.with_name(f"{path.name}.incomplete")
    partial.touch()
    waits = iter(RETRY_SECONDS)
    while (before := _size(partial)) < file.size:
        try:
            _append(repository, file, partial, progress)
            reason = "the connection ended early"
        except (httpx.RequestError, StorageError) as error:
            reason = str(error) or type(error).__name__
        except Unavailable as error:
            raise ModelError(f"{repository.place} {error}: {file.path}.", "Try again later.") from None
        if _size(partial) > before:
            waits = iter(RETRY_SECONDS)
        else:
            _wait(waits, file, repository, reason)
    sha256 = _check(file, partial, repository)
    partial.replace(path)
    return sha256


def _append(repository: Repository, file: RemoteFile, partial: Path, progress: Progress) -> None:
    """One attempt: ask for what is missing and write it as it comes."""
    with repository.open(file, _size(partial)) as (start, blocks), partial.open("ab") as stream:
        stream.truncate(start)
        done = start
        for block in blocks:
            stream.write(block)
            done += len(block)
            progress(file.path, min(done, file.size), file.size)
        stream.flush()
        os.fsync(stream.fileno())


def _wait(waits: Iterator[float], file: RemoteFile, repository: Repository, reason: str) -> None:
    seconds = next(waits, None)
    if seconds is None:
        raise ModelError(
            f"The download of {file.path} from {repository.place} broke off: {reason}.",
            "Run the same command again; it goes on where this one stopped.",
        )
    time.sleep(seconds)


def _check(file: RemoteFile, partial: Path, repository: Repository) -> str:
    """The file's SHA-256, after comparing size and checksum; a file that differs is deleted."""
    size = _size(partial)
    sha256 = sha256_of(partial)
    right = size == file.size
    if file.checksum is not None and right:
        found = sha256 if file.checksum.kind == "sha256" else git_sha1_of(partial)
        right = found == file.checksum.value
    if not right:
        partial.unlink()
        raise ModelError(
            f"{file.path} from {repository.place} does not match its checksum ({size:,} of {file.size:,} bytes came).",
            "Run the same command again; if it stays, the place or a proxy on the way is broken.",
        )
    return sha256


def _check_disk(snapshot: Snapshot, folder: Path) -> None:
    here = sum(file.stat().st_size for file in folder.iterdir())
    needed, free = snapshot.size - here, shutil.disk_usage(folder).free
    if needed > free:
        raise ModelError(
            f"{snapshot.repo} needs {needed / 1e9:.2f} GB more on the disk of {folder.parent}, and {free / 1e9:.2f} GB "
            "are free.",
            "Free some space, or set QUICKALIGN_HOME to a folder on a larger disk.",
        )


def _write_manifest(repository: Repository, snapshot: Snapshot, folder: Path) -> None:
    content = {
        "repository": snapshot.repo,
        "revision": snapshot.revision,
        "commit": snapshot.commit,
        "from": repository.place,
        "files": {
            file.path: {"size": file.size, "checksum": asdict(file.checksum) if file.checksum else None}
            for file in snapshot.files
        },
    }
    atomic.write_text(folder / MANIFEST, json.dumps(content, indent=1))


def _remove_others(target: Path, gathering: Path) -> None:
    """Delete what was begun for another state of the same model."""
    for other in target.parent.glob(f".{target.name}.*.incomplete"):
        if other != gathering:
            shutil.rmtree(other)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _silent(_file: str, _done: int, _total: int) -> None:
    """No progress wanted."""
