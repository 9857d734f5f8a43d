"""A small server on loopback that answers as Jupyter's contents API does, to those who bring its token."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

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
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"jupyter": jupyter}))
    jupyter.url = f"http://127.0.0.1:{server.server_address[1]}{jupyter.base}"
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield jupyter
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    jupyter: Jupyter

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if (name := self._name()) is None:
            return
        if name in self.jupyter.notebooks:
            self._answer(200, {"name": name, "path": name, "type": "notebook", "content": None})
        else:
            self._answer(404, {"message": f"file or directory does not exist: {name!r}", "reason": None})

    def do_PUT(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if (name := self._name()) is None:
            return
        if self.jupyter.fail_with:
            self._answer(self.jupyter.fail_with, {"message": "the disk is full"})
            return
        assert (body["type"], body["format"]) == ("notebook", "json")
        self.jupyter.notebooks[name] = body["content"]
        self._answer(201, {"name": name, "path": name, "type": "notebook"})

    def _name(self) -> str | None:
        path = urlsplit(self.path).path
        prefix = f"{self.jupyter.base}/api/contents/"
        if not path.startswith(prefix):
            self._answer(404, {})
            return None
        if self.headers["Authorization"] != f"token {TOKEN}":
            self._answer(403, {"message": "Forbidden", "reason": None})
            return None
        return unquote(path.removeprefix(prefix))

    def _answer(self, status: int, value: Any) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
