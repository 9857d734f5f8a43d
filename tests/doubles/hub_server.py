"""A small server on loopback that speaks the protocols of the Hugging Face hub and of ModelScope, faults included.

Both serve the files of a folder as one repository. Files in LFS (here: safetensors) are redirected to another path, as
the hub does, and answer ranged requests.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.doubles.loopback import Handler, listening
from tests.doubles.models import git_sha1

COMMIT = "c0ffee" * 6 + "c0ff"


@dataclass
class Hub:
    """What the server serves, its faults, and what it was asked."""

    folder: Path
    repo: str = "maker/tiny"
    url: str = ""
    gated: bool = False
    token: str | None = None
    cut_after: dict[str, list[int]] = field(default_factory=dict)
    wrong_checksum: str | None = None
    no_ranges: bool = False
    fail_with: int | None = None
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def asked(self, text: str) -> list[dict[str, str]]:
        """The headers of the requests whose path holds `text`."""
        return [headers for _, path, headers in self.requests if text in path]

    def ranges(self, name: str) -> list[str | None]:
        """The Range header of each request for the content of `name`."""
        return [headers.get("range") for headers in self.asked(f"/content/{name}")]


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Run the server until the block ends."""
    with listening(_Handler, hub=hub) as port:
        hub.url = f"http://127.0.0.1:{port}"
        yield hub


def counted(hub: Hub) -> Counter[str]:
    """How often each path was asked for."""
    return Counter(path.partition("?")[0] for _, path, _ in hub.requests)


class _Handler(Handler):
    hub: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        headers = {key.lower(): value for key, value in self.headers.items()}
        self.hub.requests.append((self.command, self.path, headers))
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if self.hub.fail_with is not None:
            self._error(self.hub.fail_with, "")
        elif path.startswith(f"/api/models/{self.hub.repo}"):
            self._model_info(path)
        elif path.startswith(f"/{self.hub.repo}/resolve/"):
            self._resolve(path)
        elif path.startswith("/content/"):
            self._content(path.removeprefix("/content/"))
        elif path.startswith(f"/api/v1/models/{self.hub.repo}/repo"):
            self._modelscope(path, query)
        else:
            self._error(404, "RepoNotFound")

    def _authorized(self) -> bool:
        return self.hub.token is not None and self.headers.get("Authorization") == f"Bearer {self.hub.token}"

    def _model_info(self, path: str) -> None:
        if "/tree/" in path:
            self.send_json([_tree_entry(file) for file in _files(self.hub.folder)])
            return
        revision = path.partition("/revision/")[2] or "main"
        if revision not in ("main", COMMIT):
            self._error(404, "RevisionNotFound")
            return
        siblings = [_sibling(file, self.hub) for file in _files(self.hub.folder)]
        gated = "manual" if self.hub.gated else False
        self.send_json({"id": self.hub.repo, "sha": COMMIT, "gated": gated, "private": False, "siblings": siblings})

    def _resolve(self, path: str) -> None:
        revision, _, name = path.removeprefix(f"/{self.hub.repo}/resolve/").partition("/")
        file = self.hub.folder / name
        if self.hub.gated and not self._authorized():
            self._error(401, "GatedRepo")
        elif revision not in ("main", COMMIT):
            self._error(404, "RevisionNotFound")
        elif not file.is_file():
            self._error(404, "EntryNotFound")
        elif name.endswith(".safetensors"):
            self._redirect(file)
        else:
            self._send_file(file, git_sha1(file.read_bytes()))

    def _redirect(self, file: Path) -> None:
        headers = {
            "X-Repo-Commit": COMMIT,
            "X-Linked-Etag": f'"{_sha256(file)}"',
            "X-Linked-Size": str(file.stat().st_size),
            # Another host name for the same address, as the hub sends to another host.
            "Location": f"{self.hub.url.replace('127.0.0.1', 'localhost')}/content/{file.name}",
        }
        self.send(302, headers=headers)

    def _content(self, name: str) -> None:
        file = self.hub.folder / name
        self._send_file(file, _sha256(file))

    def _modelscope(self, path: str, query: dict[str, str]) -> None:
        if query.get("Revision") != "master":
            self.send_json({"Code": 10010205001, "Success": False, "Message": "not found"}, 404)
        elif path.endswith("/repo/files"):
            entries = [
                {
                    "Name": f.name,
                    "Path": f.name,
                    "Type": "blob",
                    "Size": f.stat().st_size,
                    "Sha256": _claimed(f, self.hub),
                }
                for f in _files(self.hub.folder)
            ]
            entries.append({"Name": "figures", "Path": "figures", "Type": "tree", "Size": 0, "Sha256": ""})
            self.send_json({"Code": 200, "Success": True, "Data": {"Files": entries}})
        else:
            self._send_file(self.hub.folder / query["FilePath"], None)

    def _send_file(self, file: Path, etag: str | None) -> None:
        content = file.read_bytes()
        start = self._start(len(content))
        self.send_response(206 if start else 200)
        if etag:
            self.send_header("ETag", f'"{etag}"')
            self.send_header("X-Repo-Commit", COMMIT)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        cuts = self.hub.cut_after.get(file.name)
        if self.command == "HEAD":
            return
        if cuts:
            self.wfile.write(content[start : start + cuts.pop(0)])
            self.close_connection = True
        else:
            self.wfile.write(content[start:])

    def _start(self, size: int) -> int:
        header = self.headers.get("Range")
        if header is None or self.hub.no_ranges:
            return 0
        return min(int(header.removeprefix("bytes=").partition("-")[0]), size)

    def _error(self, status: int, code: str) -> None:
        self.send(status, headers={"X-Error-Code": code})


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.is_file())


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _claimed(file: Path, hub: Hub) -> str:
    return "0" * 64 if file.name == hub.wrong_checksum else _sha256(file)


def _sibling(file: Path, hub: Hub) -> dict[str, Any]:
    entry: dict[str, Any] = {"rfilename": file.name, "size": file.stat().st_size}
    if file.suffix == ".safetensors":
        entry |= {"blobId": "0" * 40, "lfs": {"sha256": _claimed(file, hub), "size": entry["size"], "pointerSize": 134}}
    else:
        entry["blobId"] = "0" * 40 if file.name == hub.wrong_checksum else git_sha1(file.read_bytes())
    return entry


def _tree_entry(file: Path) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": file.name, "size": file.stat().st_size}
    if file.suffix == ".safetensors":
        return entry | {"oid": "0" * 40, "lfs": {"oid": _sha256(file), "size": entry["size"], "pointerSize": 134}}
    return entry | {"oid": git_sha1(file.read_bytes())}
