"""What a remote collection of models looks like to the download: a list of files, and bytes from an offset."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from quickalign.core.errors import ModelError
from quickalign.hub.folder import no_safetensors

Origin = Literal["embedded", "folder", "mirror", "cache", "huggingface", "modelscope"]

WEIGHTS_PATTERN = re.compile(r"model(-\d+-of-\d+)?\.safetensors")
_NEEDED = re.compile(
    r"(config|generation_config|model\.safetensors\.index|tokenizer|tokenizer_config|special_tokens_map|added_tokens"
    r"|vocab|chat_template)\.json|merges\.txt|tokenizer\.model|chat_template\.jinja|(LICENSE|NOTICE)[\w.\-]*"
)
_UNSAFE = re.compile(r".*\.(bin|pt|pth|ckpt)")


class Unavailable(Exception):  # noqa: N818 - says that this place has no answer, so that the next one is asked
    """A place does not have the model or cannot be reached; the text says which."""


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a hub says about a file's content: its SHA-256, or git's SHA-1 of the blob for small files."""

    kind: Literal["sha256", "git-sha1"]
    value: str


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a model; `path` is its name, `size` in bytes, `url` where the repository finds it."""

    path: str
    size: int
    url: str
    checksum: Checksum | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The needed files of a model at one revision; `commit` where the place names one."""

    repo: str
    revision: str
    commit: str | None
    files: tuple[RemoteFile, ...]

    @property
    def key(self) -> str:
        """Names the content, so that a download is only continued with the same files."""
        lines = [f"{file.path} {file.size} {file.checksum}" for file in self.files]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


class Repository(Protocol):
    """A place that models can be downloaded from."""

    origin: Origin
    place: str

    def snapshot(self, repo: str, revision: str) -> Snapshot:
        """The files of `repo`. Raises Unavailable, or ModelError where asking elsewhere would be wrong."""

    def open(self, file: RemoteFile, offset: int) -> AbstractContextManager[tuple[int, Iterator[bytes]]]:
        """The file's bytes from `offset` on, or from the start where the place cannot begin there: (start, blocks)."""


def needed_files(files: Iterable[RemoteFile], model: str) -> tuple[RemoteFile, ...]:
    """Those files that loading the model takes, small ones first; no code, no pickles, no second copy of the weights.

    Raises:
        ModelError: the repository has no safetensors weights or no config.json.
    """
    every = list(files)
    weights = sorted((f for f in every if WEIGHTS_PATTERN.fullmatch(f.path)), key=lambda file: file.path)
    if not weights:
        if unsafe := [file.path for file in every if _UNSAFE.fullmatch(file.path)]:
            raise no_safetensors(model, min(unsafe))
        raise ModelError(f"{model} holds no weights as model.safetensors.", "Choose another repository of this model.")
    rest = sorted((file for file in every if _NEEDED.fullmatch(file.path)), key=lambda file: file.path)
    if not any(file.path == "config.json" for file in rest):
        raise ModelError(f"{model} has no config.json, so it is no model that transformers can load.")
    return (*rest, *weights)
