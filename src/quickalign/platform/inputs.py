"""What a job may read and write, and how what it reads is frozen: by content, before the job is made."""

import fnmatch
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from quickalign.core import paths, storage
from quickalign.core.errors import AccessError, ModelError, OptionError, QuickalignError, StorageError
from quickalign.core.wire.jobs import JobSpec
from quickalign.hub.folder import refuse_gguf
from quickalign.platform.config import Config, asset_path
from quickalign.platform.executors.results import check_place
from quickalign.platform.files.blobs import Blobs
from quickalign.platform.home import Home

FIELDS = ("train", "validation", "data")
"""Fields of requests of all kinds that name data."""

_BLOCK = 1 << 20
_BESIDE = ("-wal", "-shm", "-journal")
"""What SQLite puts behind the name of a database for the files beside it."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """An input of a job.

    `source` is what is read: a URI, or where the content came from. `sha256` is None for a URI, which the run reads
    itself. `file` is the uploaded file it is, `notice` what the user should know of it.
    """

    field: str
    source: str
    name: str
    sha256: str | None
    blob: bool
    file: str | None = None
    notice: str | None = None


FindFile = Callable[[str], tuple[str, str]]
"""Gives the SHA-256 and the name of an uploaded file by its id."""


class Inputs:
    """Resolves and freezes inputs by the operator's rules."""

    def __init__(self, home: Home, config: Config, blobs: Blobs, find_file: FindFile) -> None:
        self._home, self._config, self._blobs, self._find_file = home, config, blobs, find_file

    def freeze(self, spec: JobSpec) -> tuple[Frozen, ...]:
        """Freeze the inputs of `spec`: uploads as they are, local files by a copy; URIs are checked only.

        Every content in the result is pinned in the store; the caller undoes that.

        Raises:
            AccessError: the operator's settings do not allow it. StorageError: it cannot be read.
        """
        done: list[Frozen] = []
        try:
            for field in FIELDS:
                text: str | None = getattr(spec, field, None)
                if text is None:
                    continue
                try:
                    done.append(self._freeze(field, text))
                except QuickalignError as error:
                    error.field, error.value = f"spec.{field}", text
                    raise
        except BaseException:
            self.release(done)
            raise
        return tuple(done)

    def release(self, frozen: list[Frozen] | tuple[Frozen, ...]) -> None:
        """Undo the pins of `freeze`."""
        for one in frozen:
            if one.blob and one.sha256:
                self._blobs.unpin(one.sha256)

    def readable(self, field: str, text: str) -> tuple[str, str, str | None]:
        """What is read for `text`: the path or URI, its name, and what the user should know.

        Raises:
            AccessError, StorageError, NotFoundError: it may not or cannot be read.
        """
        if text.startswith("file-"):
            digest, name = self._find_file(text)
            return str(self._blobs.path(digest)), name, None
        target, notice = self._mirrored(field, text)
        self._check_scheme(field, target)
        local = storage.local_path(target)
        if local is None:
            return target, PurePosixPath(target).name, notice
        resolved = self.contained(field, local, text)
        storage.check_regular(resolved, text)
        return str(resolved), local.name, notice

    def check_output(self, target: str, *, writes_model: bool = False) -> str:
        """`output` of a job, checked; an absolute path or a URI. `writes_model`: all weights are trained, no adapter.

        Raises:
            AccessError: the operator's settings do not allow it. OptionError, StorageError: it cannot be written.
        """
        try:
            found = self._checked_output(target)
            if writes_model:
                check_place(found)
            return found
        except QuickalignError as error:
            error.field, error.value = "output", target
            raise

    def _checked_output(self, target: str) -> str:
        self._check_scheme("output", target)
        local = storage.local_path(target)
        if local is None:
            if storage.scheme_of(target) == "hf":
                raise OptionError(
                    f"{target} cannot be written: hf:// is for reading.",
                    "Use a local path, s3:// or oss://.",
                    field="output",
                    value=target,
                )
            return target
        place = self.contained("output", local, target)
        if self._config.executor == "local":  # else it is another machine that writes there
            storage.check_folder(place)
        return str(place)

    def check_model(self, model: str) -> None:
        """Refuse a model's folder that jobs may not read, one that depends on where the server was started, and, where
        jobs run on this machine, one that is not there: the queue may be long."""
        if "\0" in model:
            raise OptionError(f"{model!r} holds a NUL character.", "Check the name.", field="model", value=model)
        if model.startswith(("/", "~", ".")) and (folder := storage.local_path(model)) is not None:
            found = self.contained("model", folder, model)
            if self._config.executor == "local" and not found.is_dir():
                raise ModelError(f"The model folder {model} does not exist.", "Check the path.", field="model")
            refuse_gguf(found)

    def contained(self, field: str, path: Path, text: str) -> Path:
        """`path` with all links resolved, where it lies in a folder that jobs may use.

        Raises:
            AccessError: it does not. OptionError: it is relative.
        """
        if not path.is_absolute():
            raise OptionError(
                f"{field}={text!r} is relative, and the server does not know to what.",
                "Give an absolute path, or upload the file.",
                field=field,
                value=text,
            )
        try:
            resolved = path.resolve()
        except (OSError, RuntimeError) as error:
            raise StorageError(f"{text} cannot be accessed: {error}.", "Check the path.") from None
        if not self._allowed(resolved, writing=field == "output"):
            raise AccessError(
                f"{field}={text!r} lies outside the folders that this server may use.",
                "Upload the file, or let the operator add its folder to local_roots in config.toml.",
                field=field,
                value=text,
            )
        return resolved

    def _allowed(self, resolved: Path, *, writing: bool) -> bool:
        inside: tuple[Path, ...] = (self._home.jobs.resolve(), paths.models_cache().resolve(), paths.assets().resolve())
        if writing:
            # A job's results must not overwrite the state of the server.
            home = self._home.root.resolve()
            if resolved == home or home in resolved.parents:
                return False
            inside = ()
        elif resolved == self._home.root.resolve() or self._is_secret(resolved):
            return False
        return any(root == resolved or root in resolved.parents for root in (*self._config.readable_roots, *inside))

    def _is_secret(self, resolved: Path) -> bool:
        names = ("token", "console.key", "config.toml", *(f"{self._home.database.name}{end}" for end in ("", *_BESIDE)))
        files = (self._home.root / name for name in names)
        folders = (self._home.secrets, self._home.services)
        hidden = [secret.resolve() for secret in (*files, *folders)]
        return any(secret == resolved or secret in resolved.parents for secret in hidden)

    def _freeze(self, field: str, text: str) -> Frozen:
        source, name, notice = self.readable(field, text)
        if text.startswith("file-"):
            digest = Path(source).name
            self._blobs.pin(digest)
            return Frozen(field, text, name, digest, blob=True, file=text)
        if storage.local_path(source) is None:
            return Frozen(field, source, name, None, blob=False, notice=notice)
        return Frozen(field, source, name, self._copy(field, source), blob=True, notice=notice)

    def _copy(self, field: str, source: str) -> str:
        """Copy a local file into the store, checking what was really opened; its content is pinned."""
        with storage.open_binary(source) as stream, self._blobs.writing() as writing:
            opened = Path(f"/proc/self/fd/{stream.fileno()}")
            if opened.exists():  # a link that was put in place of the file since would be followed
                self.contained(field, Path(os.path.realpath(opened)), source)
            while content := stream.read(_BLOCK):
                writing.write(content)
            with self._blobs.keeping():
                digest = writing.finish()
                self._blobs.pin(digest)
        return digest

    def _mirrored(self, field: str, text: str) -> tuple[str, str | None]:
        for pattern, target in self._config.mirror.items():
            if text == pattern or fnmatch.fnmatchcase(text, pattern):
                path = asset_path(target)
                if target.startswith("assets:"):
                    return path, f"{field}: {text} is not read; the sample set shipped with quickalign stands for it."
                return path, f"{field}: {path} is read in place of {text}, by the server's mirror table."
        return text, None

    def _check_scheme(self, field: str, uri: str) -> None:
        scheme = storage.scheme_of(uri)
        if scheme != "file" and scheme not in self._config.storage_schemes:
            allowed = ", ".join(f"{name}://" for name in self._config.storage_schemes) or "none"
            raise AccessError(
                f"{field}={uri!r} has the scheme {scheme}://, which this server does not allow (allowed: {allowed}).",
                "Upload the file, or let the operator add the scheme to storage_schemes in config.toml.",
                field=field,
                value=uri,
            )
