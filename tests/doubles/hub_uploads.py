"""A small server on loopback that takes commits as the Hugging Face hub does: small files inline, safetensors by LFS."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.doubles.loopback import Handler, listening
from tests.doubles.models import git_sha1

TOKEN = "hf_secret"


@dataclass
class Uploads:
    """The one repository, the store of large files, and what was uploaded.

    Attributes:
        files: by name; None before the repository is made.
        refuse_uploads, refuse_commits: how many of the next ones fail.
        yaml_error: what is wrong with the card.
    """

    repo: str = "me/tuned"
    url: str = ""
    files: dict[str, bytes] | None = None
    private: bool = False
    store: dict[str, bytes] = field(default_factory=dict)
    uploaded: list[str] = field(default_factory=list)
    commits: list[list[str]] = field(default_factory=list)
    refuse_uploads: int = 0
    refuse_commits: int = 0
    yaml_error: str = ""


@contextmanager
def serve(hub: Uploads) -> Iterator[Uploads]:
    """Run the server until the block ends."""
    with listening(_Handler, hub=hub) as port:
        hub.url = f"http://127.0.0.1:{port}"
        yield hub


class _Handler(Handler):
    hub: Uploads

    def do_GET(self) -> None:
        hub, path = self.hub, urlsplit(self.path).path
        if hub.files is None or (hub.private and not self._authorized()):
            self.send_json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        elif path == f"/api/models/{hub.repo}/tree/main":
            self.send_json([_entry(name, content) for name, content in hub.files.items()])
        elif path == f"/api/models/{hub.repo}":
            self.send_json({"id": hub.repo, "private": hub.private, "sha": "c0ffee"})
        else:
            self.send_json({}, 404)

    def do_PUT(self) -> None:
        content, oid = self.body(), self.path.rpartition("/")[2]
        if self.hub.refuse_uploads:
            self.hub.refuse_uploads -= 1
            self.send_json({"error": "broken"}, 400)
            return
        assert hashlib.sha256(content).hexdigest() == oid
        self.hub.store[oid] = content
        self.hub.uploaded.append(oid)
        self.send_json({})

    def do_POST(self) -> None:
        hub, path, body = self.hub, urlsplit(self.path).path, self.body()
        if not self._authorized():
            self.send_json({"error": "Invalid credentials in Authorization header"}, 401)
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif path == "/api/validate-yaml":
            errors = [{"message": hub.yaml_error}] if hub.yaml_error else []
            self.send_json({"errors": errors, "warnings": []}, 400 if errors else 200)
        elif path == f"/api/models/{hub.repo}/preupload/main":
            self.send_json({"files": [self._mode(one["path"]) for one in json.loads(body)["files"]]})
        elif path == f"/{hub.repo}.git/info/lfs/objects/batch":
            self.send_json({"transfer": "basic", "objects": [self._action(one) for one in json.loads(body)["objects"]]})
        elif path == f"/api/models/{hub.repo}/commit/main":
            self._commit([json.loads(line) for line in body.splitlines()])
        else:
            self.send_json({}, 404)

    def _create(self, asked: dict[str, Any]) -> None:
        assert f"{asked.get('organization')}/{asked['name']}" == self.hub.repo
        if self.hub.files is None:
            self.hub.files = {}
            self.hub.private = bool(asked.get("private")) or asked.get("visibility") == "private"
            self.send_json({"url": f"{self.hub.url}/{self.hub.repo}"})
        else:
            self.send_json({"error": "exists", "url": f"{self.hub.url}/{self.hub.repo}"}, 409)

    def _mode(self, name: str) -> dict[str, Any]:
        there = (self.hub.files or {}).get(name)
        mode = "lfs" if name.endswith(".safetensors") else "regular"
        return {"path": name, "uploadMode": mode, "shouldIgnore": False, "oid": there and _oid(name, there)}

    def _action(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["oid"] in self.hub.store:
            return asked
        return {**asked, "actions": {"upload": {"href": f"{self.hub.url}/store/{asked['oid']}"}}}

    def _commit(self, lines: list[dict[str, Any]]) -> None:
        if self.hub.refuse_commits:
            self.hub.refuse_commits -= 1
            self.send_json({"error": "no"}, 400)
            return
        new = {}
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                new[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                new[value["path"]] = self.hub.store[value["oid"]]
        assert self.hub.files is not None
        self.hub.files |= new
        self.hub.commits.append(sorted(new))
        self.send_json({"commitUrl": f"{self.hub.url}/{self.hub.repo}/commit/c0ffee", "commitOid": "c0ffee"})

    def _authorized(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"


def _oid(name: str, content: bytes) -> str:
    return hashlib.sha256(content).hexdigest() if name.endswith(".safetensors") else git_sha1(content)


def _entry(name: str, content: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": name, "size": len(content), "oid": git_sha1(content)}
    if name.endswith(".safetensors"):
        entry["lfs"] = {"oid": _oid(name, content), "size": len(content), "pointerSize": 134}
    return entry
