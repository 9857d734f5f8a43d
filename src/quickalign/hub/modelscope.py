"""Models from ModelScope, through its public HTTP interface.

Listing: GET {endpoint}/api/v1/models/{repo}/repo/files?Revision=...&Recursive=True. Files: GET
{endpoint}/api/v1/models/{repo}/repo?Revision=...&FilePath=... with Range.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx

from quickalign.core.errors import ModelError
from quickalign.hub import web
from quickalign.hub.repository import Checksum, Origin, RemoteFile, Snapshot, Unavailable, needed_files

_HUB = "https://www.modelscope.cn"


class ModelScope:
    """ModelScope, or the server that MODELSCOPE_ENDPOINT names; MODELSCOPE_API_TOKEN is sent where it is set."""

    def __init__(self) -> None:
        self.origin: Origin = "modelscope"
        endpoint = os.environ.get("MODELSCOPE_ENDPOINT") or _HUB
        self._endpoint = (endpoint if "://" in endpoint else f"https://{endpoint}").rstrip("/")
        self.place = f"ModelScope ({self._endpoint})"
        token = os.environ.get("MODELSCOPE_API_TOKEN") or None
        self._web = web.client(token, _session_cookie(token, self._endpoint))

    def snapshot(self, repo: str, revision: str) -> Snapshot:
        """The needed files of `repo` at `revision`. ModelScope names no commit; the checksums pin the content."""
        url = f"{self._endpoint}/api/v1/models/{repo}/repo/files"
        content = web.get_json(self._web, url, {"Revision": revision, "Recursive": "True"}, self._refusal(repo))
        try:
            entries = content["Data"]["Files"]
            files = [self._file(repo, revision, entry) for entry in entries if entry["Type"] != "tree"]
        except (KeyError, TypeError, ValueError):
            raise Unavailable("answered with a list of files that cannot be read") from None
        return Snapshot(repo, revision, None, needed_files(files, f"{repo} on {self.place}"))

    def open(self, file: RemoteFile, offset: int) -> AbstractContextManager[tuple[int, Iterator[bytes]]]:
        """The file's bytes from `offset`."""
        repo = file.url.removeprefix(f"{self._endpoint}/api/v1/models/").partition("/repo?")[0]
        return web.stream(self._web, file.url, offset, self._refusal(repo))

    def _file(self, repo: str, revision: str, entry: dict[str, Any]) -> RemoteFile:
        path = str(entry["Path"])
        query = urlencode({"Revision": revision, "FilePath": path})
        checksum = Checksum("sha256", entry["Sha256"]) if entry.get("Sha256") else None
        return RemoteFile(path, int(entry["Size"]), f"{self._endpoint}/api/v1/models/{repo}/repo?{query}", checksum)

    def _refusal(self, repo: str) -> ModelError:
        return ModelError(
            f"{self.place} refuses to give {repo} to this account.",
            f"Accept its terms at {self._endpoint}/models/{repo} and set MODELSCOPE_API_TOKEN to your token.",
        )


def _session_cookie(token: str | None, endpoint: str) -> httpx.Cookies | None:
    """The older half of the interface reads the token from a cookie; bound to the host, it goes nowhere else."""
    if token is None:
        return None
    cookies = httpx.Cookies()
    cookies.set("m_session_id", token, domain=urlsplit(endpoint).hostname or "")
    return cookies
