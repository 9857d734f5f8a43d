"""Models from the Hugging Face hub, or a server that speaks its protocol.

Listing: GET {endpoint}/api/models/{repo}/revision/{revision}?blobs=true, whose `sha` is the commit and whose `siblings`
have sizes and hashes. Files: GET {endpoint}/{repo}/resolve/{commit}/{file} with Range, redirected to where the bytes
are.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import quote

from quickalign.core.errors import ModelError
from quickalign.hub import web
from quickalign.hub.repository import Checksum, Origin, RemoteFile, Snapshot, Unavailable, needed_files

_HUB = "https://huggingface.co"


class HuggingFace:
    """The hub, the server that HF_ENDPOINT names, or a mirror. Only the former two are sent the user's token."""

    def __init__(self, mirror: str | None = None) -> None:
        self.origin: Origin = "mirror" if mirror else "huggingface"
        self._endpoint = (mirror or os.environ.get("HF_ENDPOINT") or _HUB).rstrip("/")
        self.place = f"{'the mirror' if mirror else 'Hugging Face'} ({self._endpoint})"
        self._web = web.client(None if mirror else _token())

    def snapshot(self, repo: str, revision: str) -> Snapshot:
        """The needed files of `repo` at the commit that `revision` names now."""
        url = f"{self._endpoint}/api/models/{repo}/revision/{quote(revision, safe='')}"
        content = web.get_json(self._web, url, {"blobs": "true"}, self._refusal(repo))
        commit = content.get("sha")
        try:
            files = [self._file(repo, str(commit), entry) for entry in content["siblings"]]
        except (KeyError, TypeError, ValueError):
            raise Unavailable("answered with a list of files that cannot be read") from None
        return Snapshot(repo, revision, commit, needed_files(files, f"{repo} on {self.place}"))

    def open(self, file: RemoteFile, offset: int) -> AbstractContextManager[tuple[int, Iterator[bytes]]]:
        """The file's bytes from `offset`."""
        repo = file.url.removeprefix(f"{self._endpoint}/").partition("/resolve/")[0]
        return web.stream(self._web, file.url, offset, self._refusal(repo))

    def _file(self, repo: str, commit: str, entry: dict[str, Any]) -> RemoteFile:
        path = str(entry["rfilename"])
        large = entry.get("lfs")
        checksum = Checksum("sha256", large["sha256"]) if large else None
        if checksum is None and entry.get("blobId"):
            checksum = Checksum("git-sha1", entry["blobId"])
        url = f"{self._endpoint}/{repo}/resolve/{quote(commit, safe='')}/{quote(path)}"
        # A file without a size could be neither checked nor counted against the disk.
        return RemoteFile(path, int(entry["size"]), url, checksum)

    def _refusal(self, repo: str) -> ModelError:
        return ModelError(
            f"{repo} is gated: {self.place} gives it only to accounts that accepted its licence.",
            f"Accept the licence at {self._endpoint}/{repo} and set HF_TOKEN to your token.",
        )


def _token() -> str | None:
    from huggingface_hub import get_token  # noqa: PLC0415 - heavy

    return get_token()
