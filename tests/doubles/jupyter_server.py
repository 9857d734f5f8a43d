"""A small server on loopback that answers as Jupyter's contents API does, to those who bring its token."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.doubles.loopback import Handler, listening

TOKEN = "let-me-in"


@dataclass
class Jupyter:
    """What the server holds; `fail_with` is what it answers to whoever writes."""

    base: str = "/lab-of-mine"
    url: str = ""
    fail_with: int | None = None
    notebooks: dict[str, Any] = field(default_factory=dict)


@contextmanager
def serve(jupyter: Jupyter) -> Iterator[Jupyter]:
    """Run the server until the block ends."""
    with listening(_Handler, jupyter=jupyter) as port:
        jupyter.url = f"http://127.0.0.1:{port}{jupyter.base}"
        yield jupyter


class _Handler(Handler):
    jupyter: Jupyter

    def do_GET(self) -> None:
        if (name := self._name()) is None:
            return
        if name in self.jupyter.notebooks:
            self.send_json({"name": name, "path": name, "type": "notebook", "content": None})
        else:
            self.send_json({"message": f"file or directory does not exist: {name!r}", "reason": None}, 404)

    def do_PUT(self) -> None:
        body = json.loads(self.body())
        if (name := self._name()) is None:
            return
        if self.jupyter.fail_with:
            self.send_json({"message": "the disk is full"}, self.jupyter.fail_with)
            return
        assert (body["type"], body["format"]) == ("notebook", "json")
        self.jupyter.notebooks[name] = body["content"]
        self.send_json({"name": name, "path": name, "type": "notebook"}, 201)

    def _name(self) -> str | None:
        path = urlsplit(self.path).path
        prefix = f"{self.jupyter.base}/api/contents/"
        if not path.startswith(prefix):
            self.send_json({}, 404)
            return None
        if self.headers["Authorization"] != f"token {TOKEN}":
            self.send_json({"message": "Forbidden", "reason": None}, 403)
            return None
        return unquote(path.removeprefix(prefix))
