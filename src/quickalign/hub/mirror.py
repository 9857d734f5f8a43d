"""Models from a storage URI, such as a bucket, with one folder a repository id below it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from quickalign.core import storage
from quickalign.core.errors import ModelError, StorageError
from quickalign.hub.folder import INDEX, WEIGHTS
from quickalign.hub.repository import Origin, RemoteFile, Snapshot, Unavailable, needed_files

_BLOCK = 1 << 20
# A bucket is not listed, only read: so every name that a model may have is asked for.
_NAMES = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "merges.txt", "tokenizer.model", "chat_template.jinja", "chat_template.json",
    "LICENSE", INDEX, WEIGHTS,
)  # fmt: skip


class StorageMirror:
    """`base`/owner/name/config.json and so on. A mirror holds one revision a model; it is taken as it is."""

    def __init__(self, base: str) -> None:
        self.origin: Origin = "mirror"
        self.place = f"the mirror ({base})"
        self._base = base.rstrip("/")

    def snapshot(self, repo: str, revision: str) -> Snapshot:
        """The needed files of `repo`; sizes come from the store, and it gives no checksums."""
        folder = f"{self._base}/{repo}"
        try:
            if not storage.exists(f"{folder}/config.json"):
                raise Unavailable("does not have it")
            names = [name for name in _NAMES if storage.exists(f"{folder}/{name}")]
            names += _shards(folder) if INDEX in names else []
            files = [RemoteFile(name, storage.size(f"{folder}/{name}") or 0, f"{folder}/{name}") for name in names]
        except StorageError as error:
            raise Unavailable(error.message.rstrip(".")) from None
        return Snapshot(repo, revision, None, needed_files(files, f"{repo} on {self.place}"))

    @contextmanager
    def open(self, file: RemoteFile, offset: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        """The file's bytes from `offset`."""
        with storage.open_binary(file.url) as stream:
            stream.seek(offset)
            yield offset, iter(lambda: stream.read(_BLOCK), b"")


def _shards(folder: str) -> list[str]:
    try:
        with storage.open_binary(f"{folder}/{INDEX}") as stream:
            return sorted(set(json.load(stream)["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ModelError(f"{folder}/{INDEX} cannot be read.", "Copy the model to the mirror again.") from None
